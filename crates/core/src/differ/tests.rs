//! Two nodes, and what lies between them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipdrift_wire::heartbeat::{Keys, Message, NodeId, OutlinePart, Setting, decode, encode};

use crate::bench::{HEARTBEAT, config, keys};
use crate::{
    Action, Event, Node, NodeConfig, NodeIndex, OccupiedPolicy, Outline, Path, PathIndex, PeerConfig, Start,
    Switchover, Timestamp,
};

const NAMES: [&str; 2] = ["alpha", "bravo"];
const LONG: Duration = Duration::from_secs(1);

fn settings(settings: &[(&str, &str)]) -> Vec<Setting> {
    settings.iter().map(|(path, value)| Setting::new(*path, value)).collect()
}

fn config_of(own: usize, outline: Outline) -> NodeConfig {
    let address = |index| IpAddr::V4(Ipv4Addr::new(192, 0, 2, if index == 0 { 11 } else { 12 }));
    let other = 1 - own;
    NodeConfig {
        name: NAMES[own].into(),
        id: NodeId::of(NAMES[own]),
        peers: vec![PeerConfig { name: NAMES[other].into(), id: NodeId::of(NAMES[other]) }],
        paths: vec![Path { peer: NodeIndex(0), local: address(own), remote: address(other) }],
        outline,
        ..config(Switchover::Strict, OccupiedPolicy::Wait)
    }
}

/// See the module.
struct Pair {
    nodes: [Node; 2],
    now: Timestamp,
    /// Everything that was sent of outlines: by whom, when, and what.
    told: Vec<(usize, Timestamp, OutlinePart)>,
    /// So many of the next parts are lost.
    loses: usize,
    /// Warnings of each.
    warnings: [Vec<String>; 2],
    /// From here on these do the same as the nodes.
    twins: Option<[Node; 2]>,
}

impl Pair {
    fn new(one: Outline, other: Outline) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let mut outlines = [one, other].into_iter().enumerate();
        let mut node = |seed| {
            let (index, outline) = outlines.next().expect("one each");
            Node::new(
                config_of(index, outline),
                seed,
                Start::Fresh { drained: crate::Drained::default() },
                now,
            )
        };
        let nodes = [node(1), node(2)];
        let none = [Vec::new(), Vec::new()];
        let mut pair = Self { nodes, now, told: Vec::new(), loses: 0, warnings: none, twins: None };
        pair.deliver();
        pair
    }

    fn give(&mut self, index: usize, event: &Event<'_>) {
        self.nodes[index].handle(event.clone(), self.now);
        if let Some(twins) = &mut self.twins {
            twins[index].handle(event.clone(), self.now);
        }
    }

    /// Carries out what both want, until neither wants anything.
    fn deliver(&mut self) {
        for _ in 0..1000 {
            let mut quiet = true;
            for index in 0..2 {
                while let Some(action) = self.nodes[index].poll_action() {
                    quiet = false;
                    if let Some(twins) = &mut self.twins {
                        assert_eq!(
                            twins[index].poll_action().as_ref(),
                            Some(&action),
                            "node and twin differ"
                        );
                    }
                    match action {
                        Action::SendDatagram { bytes, .. } => self.carry(index, &bytes),
                        Action::Note(note) if note.warning => self.warnings[index].push(note.text),
                        _ => {}
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("they talk without end");
    }

    fn carry(&mut self, from: usize, bytes: &[u8]) {
        if let Ok(Message::Outline(part)) = decode(bytes, &keys()) {
            self.told.push((from, self.now, part));
            if self.loses > 0 {
                self.loses -= 1;
                return;
            }
        }
        // The receiver has nothing left to do: it is drained before it hears more.
        let event = Event::Datagram { path: Some(PathIndex(0)), bytes };
        let to = 1 - from;
        let waiting: Vec<Action> = std::iter::from_fn(|| self.nodes[to].poll_action()).collect();
        if let Some(twins) = &mut self.twins {
            assert!(std::iter::from_fn(|| twins[to].poll_action()).eq(waiting.iter().cloned()));
        }
        self.give(to, &event);
        for action in waiting {
            match action {
                Action::SendDatagram { bytes, .. } => self.carry(to, &bytes),
                Action::Note(note) if note.warning => self.warnings[to].push(note.text),
                _ => {}
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = |node: &Node| node.next_deadline().map_or(end, |deadline| deadline.at);
            let next = self.nodes.iter().map(due).min().unwrap_or(end);
            if next >= end {
                break;
            }
            self.now = self.now.max(next);
            for index in 0..2 {
                if due(&self.nodes[index]) <= self.now {
                    self.give(index, &Event::Timeout);
                    self.deliver();
                }
            }
        }
        self.now = end;
    }

    /// Another life of a node, with another configuration perhaps.
    fn restart(&mut self, index: usize, seed: u64, outline: Outline) {
        let config = config_of(index, outline);
        self.nodes[index] =
            Node::new(config, seed, Start::Fresh { drained: crate::Drained::default() }, self.now);
        self.deliver();
    }

    fn differs(&self, index: usize) -> Vec<String> {
        let snapshot = self.nodes[index].snapshot();
        assert_eq!(snapshot.peers[0].same_config, Some(snapshot.peers[0].differs.is_empty()));
        snapshot.peers[0].differs.clone()
    }

    fn rejected(&self, index: usize, reason: &str) -> u64 {
        let counters = self.nodes[index].snapshot().counters;
        counters.datagrams_rejected.iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| *count)
    }

    /// Gives a node a datagram; nothing comes of it.
    fn in_vain(&mut self, to: usize, bytes: &[u8], reason: &str) {
        let (before, counted) = (self.nodes[to].snapshot().peers, self.rejected(to, reason));
        self.give(to, &Event::Datagram { path: Some(PathIndex(0)), bytes });
        self.deliver();
        assert_eq!(self.nodes[to].snapshot().peers, before);
        assert_eq!(self.rejected(to, reason), counted + 1, "{reason}");
    }
}

fn alphas() -> Outline {
    settings(&[
        ("cluster.heartbeat", "10ms"),
        ("cluster.lease", "2s"),
        ("group web vips", "one"),
        ("group mail vips", "one"),
    ])
    .into()
}

fn bravos() -> Outline {
    settings(&[("cluster.heartbeat", "20ms"), ("cluster.lease", "2s"), ("group web vips", "two")]).into()
}

/// Many groups, of which the first is as it is said.
fn many(groups: usize, first: &str) -> Outline {
    let paths = (0..groups).map(|n| (format!("group g{n:04} vips"), if n == 0 { first } else { "same" }));
    paths.map(|(path, value)| Setting::new(path, value)).collect::<Vec<_>>().into()
}

#[test]
fn each_says_what_differs_and_says_it_once() {
    let mut pair = Pair::new(alphas(), bravos());
    pair.pass(LONG);
    assert_eq!(pair.differs(0), ["cluster.heartbeat", "group web vips", "only here: group mail"]);
    assert_eq!(pair.differs(1), ["cluster.heartbeat", "group web vips", "only there: group mail"]);
    let line =
        "bravo has a different configuration: cluster.heartbeat, group web vips, only here: group mail";
    assert_eq!(pair.warnings[0], ["bravo has a different configuration", line]);
    assert_eq!(pair.told.len(), 2, "once each");
    pair.pass(Duration::from_secs(20));
    assert_eq!(pair.warnings[0].len(), 2, "{:?}", pair.warnings);
    let by_alpha = pair.told.iter().filter(|(by, ..)| *by == 0).count();
    assert!((4..=5).contains(&by_alpha), "every five seconds: {by_alpha}");
}

#[test]
fn nothing_is_told_where_all_agree() {
    let mut pair = Pair::new(alphas(), alphas());
    pair.pass(Duration::from_secs(20));
    assert_eq!((pair.told.len(), pair.differs(0)), (0, vec![]));
}

#[test]
fn lost_parts_come_again() {
    let mut pair = Pair::new(many(200, "one"), many(200, "two"));
    pair.loses = 3;
    pair.pass(LONG);
    let count = pair.told[0].2.count;
    assert!(count > 2, "{count}");
    assert!(pair.differs_yet(0).is_empty() || pair.differs_yet(1).is_empty());
    pair.pass(Duration::from_secs(6));
    assert_eq!(
        (pair.differs(0), pair.differs(1)),
        (vec!["group g0000 vips".into()], vec!["group g0000 vips".into()])
    );
    // One at a time, and one after the other.
    let times: Vec<_> = pair.told.iter().filter(|(by, ..)| *by == 0).map(|(_, at, _)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_millis(20)));
}

impl Pair {
    fn differs_yet(&self, index: usize) -> Vec<String> {
        self.nodes[index].snapshot().peers[0].differs.clone()
    }
}

#[test]
fn agreeing_again_ends_it() {
    let mut pair = Pair::new(alphas(), bravos());
    pair.pass(LONG);
    assert!(!pair.differs(0).is_empty());
    pair.restart(1, 22, alphas());
    pair.pass(LONG);
    assert_eq!((pair.differs(0), pair.differs(1)), (vec![], vec![]));
    let told = pair.told.len();
    pair.pass(Duration::from_secs(20));
    assert_eq!(pair.told.len(), told);
    // And differing in another way is another difference.
    pair.restart(1, 23, settings(&[("cluster.lease", "3s")]).into());
    pair.pass(LONG);
    assert_eq!(
        pair.differs(1),
        ["cluster.lease", "only there: cluster.heartbeat", "only there: group mail", "only there: group web"]
    );
}

#[test]
fn a_peer_that_begins_anew_is_told_at_once() {
    let mut pair = Pair::new(alphas(), bravos());
    pair.pass(LONG);
    let since = pair.now;
    pair.restart(1, 22, bravos());
    pair.pass(LONG);
    assert!(pair.told.iter().any(|(by, at, _)| *by == 0 && *at >= since), "within a second");
    assert_eq!(pair.differs(1).len(), 3);
    // It is known of the other what it has, and that is not said again.
    assert_eq!(pair.warnings[0].iter().filter(|line| line.contains(": ")).count(), 1, "{:?}", pair.warnings);
}

#[test]
fn what_is_shown_is_bounded() {
    let mut pair = Pair::new(many(300, "one"), alphas());
    pair.pass(Duration::from_secs(2));
    let shown = pair.differs(0);
    assert_eq!(shown.len(), 21);
    assert_eq!(shown[20], "and 284 more");
    let line = pair.warnings[0].last().expect("a warning");
    assert!(line.ends_with("only here: group g0005, and 298 more"), "{line}");
}

#[test]
fn recordings_and_forgeries_change_nothing() {
    let mut pair = Pair::new(many(200, "one"), many(200, "two"));
    // Nobody gets it whole.
    pair.loses = usize::MAX;
    pair.pass(LONG);
    let parts: Vec<_> = pair.told.iter().filter(|(by, ..)| *by == 1).map(|(.., part)| part.clone()).collect();
    let signed = |part: &OutlinePart| encode(&Message::Outline(part.clone()), &keys());
    let change = |change: &dyn Fn(&mut OutlinePart)| {
        let mut part = parts[0].clone();
        change(&mut part);
        signed(&part)
    };
    for (reason, bytes) in [
        ("replayed", change(&|part| part.incarnation ^= 2)),
        ("replayed", change(&|part| part.receiver_incarnation ^= 2)),
        ("replayed", change(&|part| part.config_digest ^= 2)),
        ("not_for_this_node", change(&|part| part.receiver = part.sender)),
        ("unknown_sender", change(&|part| part.sender = part.receiver)),
        (
            "bad_mac",
            encode(&Message::Outline(parts[0].clone()), &Keys::new("bench", b"another secret..", None)),
        ),
    ] {
        pair.in_vain(0, &bytes, reason);
    }
    // Of this life and of the right digest, and yet not what the digest was made of.
    let lie = change(&|part| {
        (part.index, part.count) = (0, 1);
        part.settings = settings(&[("group g0000 vips", "a lie")]);
    });
    pair.give(0, &Event::Datagram { path: Some(PathIndex(0)), bytes: &lie });
    pair.deliver();
    assert_eq!(pair.differs_yet(0), Vec::<String>::new());
    // A recording of an earlier life completes nothing in the next.
    pair.restart(0, 11, many(200, "one"));
    pair.pass(HEARTBEAT * 10);
    for part in &parts {
        pair.in_vain(0, &signed(part), "replayed");
    }
    // It was only that nobody heard it.
    pair.loses = 0;
    pair.pass(Duration::from_secs(7));
    assert_eq!(pair.differs(0), ["group g0000 vips"]);
}

#[test]
fn it_is_brought_back_in_the_middle_of_it() {
    let mut pair = Pair::new(many(300, "one"), many(300, "two"));
    pair.pass(HEARTBEAT + Duration::from_millis(30));
    assert!(!pair.told.is_empty() && pair.differs_yet(0).is_empty());
    let twin = |node: &Node| {
        let bytes = rmp_serde::to_vec_named(&node.checkpoint()).expect("a state can be written down");
        let twin = Node::restore(rmp_serde::from_slice(&bytes).expect("and read"), keys());
        assert_eq!(rmp_serde::to_vec_named(&twin.checkpoint()).expect("and written again"), bytes);
        twin
    };
    pair.twins = Some([twin(&pair.nodes[0]), twin(&pair.nodes[1])]);
    pair.pass(Duration::from_secs(2));
    assert_eq!(pair.differs(0), ["group g0000 vips"]);
    let [one, other] = pair.twins.as_ref().expect("twins");
    assert_eq!((one.snapshot(), other.snapshot()), (pair.nodes[0].snapshot(), pair.nodes[1].snapshot()));
}
