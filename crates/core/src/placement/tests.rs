//! A node with two groups, among peers that say what they are told to say of both.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{GroupId, GroupState, Message, Role, States, decode, encode};

use crate::bench::{ALPHA, CHARLIE, GROUP, HEARTBEAT, Puppet, config, facts, keys};
use crate::group::State;
use crate::node::Node;
use crate::{
    Action, Carry, CarryGroup, Command, Decision, Drained, Effect, Event, GroupConfig, GroupIndex,
    InterfaceIndex, NodeConfig, OccupiedPolicy, PathIndex, RoleName, Scope, Start, Switchover, Ticket,
    Timestamp, Vip, VipIndex,
};

/// By position: the first in the file is the second by name.
const WEB: usize = 0;
const DB: usize = 1;
const DB_ID: GroupId = GroupId(78);

/// Alpha, bravo (this node), charlie, in this order for both groups.
struct Bench {
    node: Node,
    now: Timestamp,
    puppets: [Puppet; 2],
    /// What each says of each group.
    states: [[GroupState; 2]; 2],
    next_beat: Timestamp,
    mounted: BTreeSet<VipIndex>,
    /// Both groups were in the kernel at once.
    both: bool,
    decisions: Vec<Decision>,
    replies: Vec<(Ticket, Result<String, String>)>,
}

fn two(change: impl Fn(&mut GroupConfig, GroupIndex)) -> NodeConfig {
    let mut config = config(Switchover::Strict, OccupiedPolicy::Wait);
    config.start_wait = Duration::ZERO;
    let address: IpNet = "192.0.2.110/24".parse().expect("an address");
    config.vips.push(Vip { interface: InterfaceIndex(0), address });
    let db =
        GroupConfig { name: "db".into(), id: DB_ID, vips: vec![VipIndex(2)], ..config.groups[0].clone() };
    config.groups.push(db);
    for (index, other) in [(WEB, DB), (DB, WEB)] {
        change(&mut config.groups[index], GroupIndex(other));
    }
    config
}

fn apart() -> NodeConfig {
    two(|group, other| group.apart = vec![other])
}

fn together() -> NodeConfig {
    two(|group, other| group.together = vec![other])
}

impl Bench {
    fn new(config: NodeConfig, start: Start) -> Self {
        let now = Timestamp::from_nanos(1);
        let puppets = ["alpha", "charlie"].map(|name| Puppet::new(name, Mac([2, 0, 0, 0, 0, 9])));
        let states = [0, 1].map(|puppet: usize| {
            let web: GroupState = puppets[puppet].state;
            [web, GroupState { group: DB_ID, ..web }]
        });
        let node = Node::new(config, 1, start, now);
        let mut bench = Self {
            node,
            now,
            puppets,
            states,
            next_beat: now,
            mounted: BTreeSet::new(),
            both: false,
            decisions: vec![],
            replies: vec![],
        };
        bench.drain();
        bench.give(Event::Link { interface: InterfaceIndex(0), facts: facts() });
        bench
    }

    /// A cluster that has heard each other; alpha holds what it is told to.
    fn running(config: NodeConfig, holds: &[(usize, usize)]) -> Self {
        let mut bench = Self::new(config, Start::Fresh { drained: Drained::default() });
        for &(puppet, group) in holds {
            bench.holds(puppet, group, 1);
        }
        bench.pass(Duration::from_millis(1000));
        bench
    }

    fn give(&mut self, event: Event<'_>) {
        self.node.handle(event, self.now);
        self.drain();
    }

    /// The keeper is obedient.
    fn drain(&mut self) {
        for _ in 0..1000 {
            let Some(action) = self.node.poll_action() else { return };
            match action {
                Action::SendDatagram { path, bytes } => {
                    if let Message::Heartbeat(heartbeat) = decode(&bytes, &keys()).expect("a datagram") {
                        self.puppets[path.0].heard =
                            Some((heartbeat.incarnation, heartbeat.sequence, self.now));
                    }
                }
                Action::Apply { plan, desired } => {
                    let rest: Vec<Action> = std::iter::from_fn(|| self.node.poll_action()).collect();
                    assert!(!rest.iter().any(|action| matches!(action, Action::Apply { .. })));
                    self.take(rest);
                    self.mounted.clone_from(&desired);
                    self.both |= [0, 2].iter().all(|vip| self.mounted.contains(&VipIndex(*vip)));
                    let mounted = desired.into_iter().collect();
                    let event = Event::Applied { plan, mounted, failed: vec![], complete: true };
                    self.node.handle(event, self.now);
                }
                other => self.take(vec![other]),
            }
        }
        panic!("no end");
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Record(decision) => self.decisions.push(decision),
                Action::Reply { ticket, outcome } => self.replies.push((ticket, outcome)),
                Action::SendDatagram { path, bytes } => {
                    if let Message::Heartbeat(heartbeat) = decode(&bytes, &keys()).expect("a datagram") {
                        self.puppets[path.0].heard =
                            Some((heartbeat.incarnation, heartbeat.sequence, self.now));
                    }
                }
                _ => {}
            }
        }
    }

    fn speak(&mut self, puppet: usize) {
        self.puppets[puppet].now = self.now;
        let mut heartbeat = self.puppets[puppet].heartbeat(self.node.config.id);
        let groups = self.states[puppet].to_vec();
        heartbeat.states = Some(States { base: 0, index: 0, count: 1, groups });
        heartbeat.config_digest = self.node.config.outline.digest();
        let bytes = encode(&Message::Heartbeat(heartbeat), &keys());
        self.give(Event::Datagram { path: Some(PathIndex(puppet)), bytes: &bytes });
    }

    fn say(&mut self, puppet: usize, group: usize, change: impl FnOnce(&mut GroupState)) {
        self.puppets[puppet].version += 1;
        let state = &mut self.states[puppet][group];
        change(state);
        state.version = self.puppets[puppet].version;
        self.speak(puppet);
    }

    fn holds(&mut self, puppet: usize, group: usize, term: u64) {
        self.say(puppet, group, |state| {
            (state.role, state.mounted, state.term) = (Role::Active, true, term);
        });
    }

    fn lets_go(&mut self, puppet: usize, group: usize) {
        self.say(puppet, group, |state| (state.role, state.mounted) = (Role::Standby, false));
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.node.next_deadline() {
            let next = deadline.at.min(self.next_beat);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if next == self.next_beat {
                self.next_beat = self.now + HEARTBEAT;
                for puppet in 0..2 {
                    if self.puppets[puppet].speaks {
                        self.speak(puppet);
                    }
                }
            } else {
                self.give(Event::Timeout);
            }
        }
        self.now = self.now.max(end);
    }

    fn second(&mut self) {
        self.pass(Duration::from_secs(1));
    }

    /// What this node holds.
    fn held(&self) -> Vec<usize> {
        [WEB, DB]
            .into_iter()
            .filter(|&group| matches!(self.node.groups[group].state, State::Active))
            .collect()
    }

    fn command(&mut self, command: impl FnOnce(Ticket) -> Command) -> Option<Result<String, String>> {
        let ticket = Ticket(7);
        self.replies.clear();
        self.give(Event::Command(command(ticket)));
        self.replies.first().map(|(_, outcome)| outcome.clone())
    }
}

#[test]
fn the_next_in_order_takes_what_a_preferred_node_must_not() {
    // Before anybody takes what the one whose turn it is leaves lying.
    let soon = |config: NodeConfig| {
        let mut bench = Bench::new(config, Start::Fresh { drained: Drained::default() });
        bench.holds(ALPHA, DB, 1);
        bench.pass(Duration::from_millis(400));
        bench.held()
    };
    assert_eq!(soon(apart()), [WEB], "alpha holds db, so web is this node's");
    assert_eq!(soon(two(|_, _| ())), Vec::<usize>::new(), "without the rule it is alpha's");
}

#[test]
fn what_a_partner_here_keeps_away_is_taken_by_nobody_and_no_fault() {
    let mut bench = Bench::running(apart(), &[(ALPHA, DB), (CHARLIE, WEB)]);
    bench.puppets[CHARLIE].speaks = false;
    bench.second();
    assert_eq!(bench.held(), [WEB]);
    bench.puppets[ALPHA].speaks = false;
    bench.pass(Duration::from_secs(20));
    assert_eq!(bench.held(), [WEB], "the last node keeps what it has, and takes no more");
    let snapshot = bench.node.snapshot();
    assert_eq!(snapshot.groups[DB].reason, "holds web, which must be apart");
    assert_eq!(snapshot.groups[DB].role, RoleName::Standby);
    assert!(!bench.both);
}

#[test]
fn of_a_pair_held_by_accident_one_goes() {
    let active = |id: GroupId| CarryGroup { group: id.0, term: 3, active: true };
    let carry = Carry { groups: vec![active(GROUP), active(DB_ID)], ..Carry::default() };
    let mut bench = Bench::new(apart(), Start::Resumed(carry));
    let mounted = vec![VipIndex(0), VipIndex(1), VipIndex(2)];
    bench.mounted = mounted.iter().copied().collect();
    bench.give(Event::Applied { plan: crate::Plan(0), mounted, failed: vec![], complete: true });
    bench.second();
    assert_eq!(bench.held(), [DB], "the first by name stays");
    assert_eq!(bench.mounted, BTreeSet::from([VipIndex(2)]));
}

#[test]
fn a_node_is_told_why_it_cannot_give_a_group_to_a_partner() {
    let mut bench = Bench::running(apart(), &[(ALPHA, DB)]);
    let to = |name: &str| Some(name.to_owned());
    let why = bench.command(|ticket| Command::Switchover { ticket, group: GroupIndex(WEB), to: to("alpha") });
    let said = "alpha is not ready to take web: holds db, which must be apart";
    assert_eq!(why, Some(Err(said.to_owned())));
    // And the other way round: alpha's group here.
    let why = bench.command(|ticket| Command::Switchover { ticket, group: GroupIndex(DB), to: to("bravo") });
    let said = "bravo is not ready to take db: holds web, which must be apart";
    assert_eq!(why, Some(Err(said.to_owned())));
    // As soon as alpha has let go it can.
    bench.holds(CHARLIE, DB, 2);
    bench.lets_go(ALPHA, DB);
    bench.second();
    let why = bench.command(|ticket| Command::Switchover { ticket, group: GroupIndex(WEB), to: to("alpha") });
    assert_eq!(why, None, "it is under way");
    assert_eq!(bench.held(), Vec::<usize>::new());
}

#[test]
fn a_drain_says_that_nobody_takes_over() {
    let mut bench = Bench::running(apart(), &[(ALPHA, DB)]);
    bench.puppets[CHARLIE].speaks = false;
    bench.second();
    let scope = Scope { node: None, group: None };
    let said = bench.command(|ticket| Command::Drain { ticket, scope });
    let expected =
        "drained; web is left without a holder: alpha holds db, which must be apart, charlie not heard";
    assert_eq!(said, Some(Ok(expected.to_owned())));
}

#[test]
fn a_free_group_is_for_the_holder_of_its_mate() {
    let takes = |config: NodeConfig| {
        let mut bench = Bench::running(config, &[(CHARLIE, DB), (ALPHA, WEB)]);
        bench.puppets[ALPHA].speaks = false;
        // Longer than the dead time, and too short for what is left lying.
        bench.pass(Duration::from_millis(400));
        bench.decisions.iter().any(|decision| decision.to == RoleName::Active)
    };
    assert!(takes(two(|_, _| ())), "it is this node's turn");
    assert!(!takes(together()), "charlie holds db");
}

#[test]
fn the_second_by_name_comes_to_the_first() {
    let mut bench = Bench::running(together(), &[(CHARLIE, DB), (ALPHA, WEB)]);
    assert_eq!(bench.held(), Vec::<usize>::new());
    // Alpha dies: this node would be next for web, but charlie has the other.
    bench.puppets[ALPHA].speaks = false;
    bench.second();
    assert_eq!(bench.held(), Vec::<usize>::new());
    // Charlie does not take it, so in the end this node does, and then it hands it on.
    bench.pass(Duration::from_secs(3));
    let given: Vec<_> = bench.decisions.iter().filter(|decision| decision.from == RoleName::Active).collect();
    assert!(!given.is_empty(), "{:?}", bench.decisions);
    for decision in given {
        assert_eq!(decision.reason, "db is active on charlie");
        assert_eq!(decision.group, GroupIndex(WEB));
    }
    // It is given to charlie.
    let state = bench.node.groups[WEB].published;
    assert!(state.heir.is_none_or(|heir| heir == bench.puppets[CHARLIE].id), "{state:?}");
}

/// The first by name stays where it is.
#[test]
fn the_first_by_name_does_not_go_to_the_second() {
    let mut bench = Bench::running(together(), &[]);
    bench.puppets[ALPHA].speaks = false;
    bench.second();
    assert_eq!(bench.held(), [WEB, DB]);
    // Charlie has taken web in a later term.
    let term = bench.node.groups[WEB].term + 1;
    bench.holds(CHARLIE, WEB, term);
    assert_eq!(bench.held(), [DB]);
    bench.second();
    assert_eq!(bench.held(), [DB]);
}

#[test]
fn a_fault_of_one_is_a_fault_of_all_and_is_named() {
    let mut config = together();
    config.checks[0].group = GroupIndex(DB);
    config.checks[1].group = GroupIndex(DB);
    let mut bench = Bench::running(config, &[]);
    bench.puppets[ALPHA].speaks = false;
    bench.second();
    assert_eq!(bench.held(), [WEB, DB]);
    assert_eq!(bench.node.config.checks[0].effect, Effect::Fault);
    // Charlie can take both.
    bench.give(Event::Check { check: crate::CheckIndex(0), failing: Some("refused".into()) });
    assert_eq!(bench.held(), Vec::<usize>::new());
    let web = bench.node.snapshot().groups[WEB].clone();
    assert_eq!(web.reason, "db: check http fails: refused");
    assert_eq!(web.role, RoleName::Fault);
    let charlie = bench.puppets[CHARLIE].id;
    let heirs: Vec<_> = bench.node.groups.iter().map(|group| group.published.heir).collect();
    assert_eq!(heirs, [Some(charlie), Some(charlie)]);
    bench.give(Event::Check { check: crate::CheckIndex(0), failing: None });
    assert_eq!(bench.node.snapshot().groups[WEB].role, RoleName::Standby);
}

#[test]
fn a_drain_of_one_is_a_drain_of_all() {
    let mut bench = Bench::running(together(), &[]);
    bench.puppets[ALPHA].speaks = false;
    bench.second();
    assert_eq!(bench.held(), [WEB, DB]);
    let scope = || Scope { node: None, group: Some(GroupIndex(WEB)) };
    let said = bench.command(|ticket| Command::Drain { ticket, scope: scope() });
    assert_eq!(said, Some(Ok("web: drained".to_owned())));
    assert_eq!(bench.held(), Vec::<usize>::new());
    let other = Scope { node: None, group: Some(GroupIndex(DB)) };
    let said = bench.command(|ticket| Command::Undrain { ticket, scope: other });
    assert_eq!(said, Some(Ok("db: was not drained; still drained: web".to_owned())));
    let said = bench.command(|ticket| Command::Undrain { ticket, scope: scope() });
    assert_eq!(said, Some(Ok("web: undrained".to_owned())));
}

/// One that prepares is as good as held: the other is for another node.
#[test]
fn groups_that_are_apart_are_not_prepared_on_one_node() {
    let mut config = apart();
    for group in &mut config.groups {
        group.gate = Some(Duration::from_secs(10));
    }
    let mut bench = Bench::new(config, Start::Fresh { drained: Drained::default() });
    for puppet in [ALPHA, CHARLIE] {
        bench.puppets[puppet].speaks = false;
    }
    bench.pass(HEARTBEAT * 60);
    let preparing = [WEB, DB].map(|group| bench.node.is_preparing(group));
    assert_eq!(preparing.iter().filter(|prepares| **prepares).count(), 1, "{preparing:?}");
}
