//! What the view knows: what the daemon said, when, and what the user is about.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use vipdrift_control::{Event, Group, GroupRole, HealthState, Peer, PeerState, Status};

use super::link::{PAST, Update};

/// How long the outcome of a command stands.
const OUTCOME: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Model {
    /// The status that was told last, and when.
    pub(super) status: Option<(Status, Instant)>,
    /// The daemon does not answer: why.
    pub(super) lost: Option<String>,
    /// Events, the oldest first.
    pub(super) events: VecDeque<Event>,
    /// What up and down move.
    pub(super) focus: Focus,
    /// By name, since a reload may change the order.
    group: String,
    node: String,
    /// What lies over the view and takes the keys.
    pub(super) dialog: Dialog,
    /// The command that is under way, and since when.
    pub(super) pending: Option<(Command, Instant)>,
    /// What became of the last one, and when.
    outcome: Option<(Result<String, String>, Instant)>,
    interval: Duration,
}

/// What up and down move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Groups,
    Nodes,
}

/// What lies over the view and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialog {
    None,
    /// From which line on.
    Help(usize),
    /// Who is to take the group: `None` is the next healthy node.
    Heir {
        group: String,
        choices: Vec<Option<String>>,
        chosen: usize,
    },
    /// Is this to be done?
    Confirm(Command),
}

/// What can be told the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Switchover { group: String, to: Option<String> },
    Drain { node: String },
    Undrain { node: String },
}

/// A node's role in a group, as far as this node's daemon knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) role: GroupRole,
    pub(super) claiming: bool,
    pub(super) demoted: bool,
    /// Said long ago, by a node that is not heard now.
    pub(super) old: bool,
}

impl Model {
    /// Knows nothing yet; looks every `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            status: None,
            lost: None,
            events: VecDeque::new(),
            focus: Focus::Groups,
            group: String::new(),
            node: String::new(),
            dialog: Dialog::None,
            pending: None,
            outcome: None,
            interval,
        }
    }

    /// Pause between two looks.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes in what came back from the daemon.
    pub(super) fn take(&mut self, update: Update, now: Instant) {
        match update {
            Update::Status(status) => self.take_status(*status, now),
            Update::Lost(why) => self.lost = Some(why),
            Update::Past(events) => {
                self.events.clear();
                self.add(events);
            }
            Update::More(events) => self.add(events),
            Update::Outcome(outcome) => {
                self.pending = None;
                self.outcome = Some((outcome, now));
            }
        }
    }

    fn add(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        self.events.drain(..self.events.len().saturating_sub(PAST));
    }

    /// Takes in a status. What was selected stays so, unless it is no more.
    pub(super) fn take_status(&mut self, status: Status, now: Instant) {
        self.lost = None;
        if !status.groups.iter().any(|group| group.name == self.group) {
            self.group = status.groups.first().map(|group| group.name.clone()).unwrap_or_default();
        }
        if !nodes(&status).any(|node| node == self.node) {
            self.node.clone_from(&status.node);
        }
        self.status = Some((status, now));
    }

    /// The last status.
    pub(super) fn last(&self) -> Option<&Status> {
        self.status.as_ref().map(|(status, _)| status)
    }

    /// How old what is shown is, if that is worth a word.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.status.as_ref()?.1);
        (self.lost.is_some() || age > self.interval * 2 + Duration::from_secs(2)).then_some(age)
    }

    /// The selected group.
    pub(super) fn group(&self) -> Option<&Group> {
        self.last()?.groups.iter().find(|group| group.name == self.group)
    }

    /// Position of the selected group.
    pub(super) fn group_position(&self) -> usize {
        let found = self.last().and_then(|s| s.groups.iter().position(|group| group.name == self.group));
        found.unwrap_or(0)
    }

    /// Name of the selected node.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Position of the selected node, this one first.
    pub(super) fn node_position(&self) -> usize {
        self.last().and_then(|status| nodes(status).position(|node| node == self.node)).unwrap_or(0)
    }

    /// Moves the selection by so many rows, not beyond the ends.
    pub(super) fn select(&mut self, by: isize) {
        let Some((status, _)) = &self.status else { return };
        match self.focus {
            Focus::Groups => {
                let to = moved(self.group_position(), by, status.groups.len());
                self.group = status.groups.get(to).map(|group| group.name.clone()).unwrap_or_default();
            }
            Focus::Nodes => {
                let to = moved(self.node_position(), by, status.peers.len() + 1);
                self.node = nodes(status).nth(to).unwrap_or_default().to_owned();
            }
        }
    }

    /// What became of the last command, for as long as that is of interest.
    pub(super) fn outcome(&self, now: Instant) -> Option<&Result<String, String>> {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < OUTCOME;
        self.outcome.as_ref().filter(|(_, at)| recent(at)).map(|(outcome, _)| outcome)
    }

    /// A command is on its way.
    pub(super) fn begin(&mut self, command: Command, now: Instant) {
        self.outcome = None;
        self.pending = Some((command, now));
    }

    /// Says something in the place of an outcome.
    pub(super) fn refuse(&mut self, why: String, now: Instant) {
        self.outcome = Some((Err(why), now));
    }
}

/// Another position, within a list.
pub(super) fn moved(from: usize, by: isize, length: usize) -> usize {
    from.saturating_add_signed(by).min(length.saturating_sub(1))
}

/// Names of all nodes, this one first.
pub(super) fn nodes(status: &Status) -> impl Iterator<Item = &str> + Clone {
    std::iter::once(status.node.as_str()).chain(status.peers.iter().map(|peer| peer.node.as_str()))
}

/// The role of a node in a group; `None` if it has said nothing of it.
pub(super) fn seat(status: &Status, group: &Group, node: &str) -> Option<Seat> {
    if node == status.node {
        let demotes = |check: &vipdrift_control::Check| {
            check.state == vipdrift_control::CheckState::Failing
                && check.effect == vipdrift_control::CheckEffect::Demote
        };
        let demoted = group.checks.iter().any(demotes);
        return Some(Seat { role: group.role, claiming: false, demoted, old: false });
    }
    let peer = status.peers.iter().find(|peer| peer.node == node)?;
    let said = peer.groups.iter().find(|said| said.name == group.name)?;
    Some(Seat { role: said.role, claiming: said.claiming, demoted: said.demoted, old: !is_heard(peer) })
}

/// What it says is of now.
pub(super) fn is_heard(peer: &Peer) -> bool {
    matches!(peer.state, PeerState::Alive | PeerState::Suspect)
}

/// Names of the groups that a node holds now.
pub(super) fn held<'a>(status: &'a Status, node: &'a str) -> impl Iterator<Item = &'a str> {
    let holds = move |group: &&Group| {
        seat(status, group, node).is_some_and(|seat| seat.role == GroupRole::Active && !seat.old)
    };
    status.groups.iter().filter(holds).map(|group| group.name.as_str())
}

/// What a node last said of its health; `None` if it has said nothing.
pub(super) fn health(status: &Status, node: &str) -> Option<HealthState> {
    if node == status.node {
        return Some(status.health.state);
    }
    status.peers.iter().find(|peer| peer.node == node)?.health
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;

    #[test]
    fn selections_follow_names_and_stay_within_bounds() {
        let now = Instant::now();
        let mut model = Model::new(Duration::from_millis(500));
        model.select(1);
        model.take_status(examples::status(), now);
        assert_eq!((model.group().map(|g| g.name.as_str()), model.node()), (Some("web"), "alpha"));
        model.select(-1);
        assert_eq!(model.group_position(), 0);
        model.select(9);
        assert_eq!(model.group().map(|g| g.name.as_str()), Some("mail"));
        model.focus = Focus::Nodes;
        model.select(1);
        assert_eq!(model.node(), "bravo");

        // A reload that turns the order round: the same group is selected.
        let mut other = examples::status();
        other.groups.reverse();
        other.peers.reverse();
        model.take_status(other.clone(), now);
        assert_eq!((model.group_position(), model.node_position()), (0, 2));
        // One that takes them away.
        other.groups.retain(|group| group.name != "mail");
        other.peers.retain(|peer| peer.node != "bravo");
        model.take_status(other, now);
        assert_eq!((model.group().map(|g| g.name.as_str()), model.node()), (Some("web"), "alpha"));
    }

    #[test]
    fn what_is_old_says_so() {
        let now = Instant::now();
        let mut model = Model::new(Duration::from_millis(500));
        model.take_status(examples::status(), now);
        assert_eq!(model.age(now + Duration::from_millis(700)), None);
        // A daemon that answers late says nothing of the sort itself.
        assert_eq!(model.age(now + Duration::from_secs(5)), Some(Duration::from_secs(5)));
        model.take(Update::Lost("no such file or directory".into()), now);
        assert_eq!(model.age(now + Duration::from_millis(700)), Some(Duration::from_millis(700)));
        assert!(model.last().is_some(), "what was known is still shown");
        model.take(Update::Status(Box::new(examples::status())), now);
        assert_eq!((model.age(now), model.lost.as_deref()), (None, None));
    }

    #[test]
    fn events_are_kept_up_to_a_number_and_replaced_after_a_break() {
        let now = Instant::now();
        let mut model = Model::new(Duration::from_millis(500));
        model.take(Update::Past(examples::events(PAST)), now);
        model.take(Update::More(examples::events(3)), now);
        assert_eq!(model.events.len(), PAST);
        assert_eq!(model.events.back().map(|event| event.seq), Some(3));
        model.take(Update::Past(examples::events(2)), now);
        assert_eq!(model.events.len(), 2);
    }

    #[test]
    fn a_silent_nodes_words_are_old() {
        let status = examples::status();
        let seat = |node| seat(&status, &status.groups[0], node);
        assert_eq!(seat("alpha").map(|s| (s.role, s.old)), Some((GroupRole::Active, false)));
        assert_eq!(seat("bravo").map(|s| (s.role, s.old)), Some((GroupRole::Standby, false)));
        assert_eq!(seat("charlie").map(|s| (s.role, s.old)), Some((GroupRole::Active, true)));
        assert_eq!(seat("nobody"), None);
        assert_eq!(held(&status, "alpha").collect::<Vec<_>>(), ["web"]);
        assert_eq!(held(&status, "charlie").count(), 0);
    }

    #[test]
    fn an_outcome_fades() {
        let now = Instant::now();
        let mut model = Model::new(Duration::from_millis(500));
        model.begin(Command::Drain { node: "bravo".into() }, now);
        assert!(model.pending.is_some());
        model.take(Update::Outcome(Ok("bravo is drained".into())), now);
        assert!(model.pending.is_none());
        assert_eq!(model.outcome(now), Some(&Ok("bravo is drained".to_owned())));
        assert_eq!(model.outcome(now + OUTCOME), None);
    }
}
