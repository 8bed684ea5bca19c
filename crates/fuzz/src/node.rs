//! One node of the core: a list of events made of bytes, among them raw and rightly signed datagrams and frames. Its
//! peers speak real heartbeats, so that it gets to believe them; keeper and LAN do what the bytes say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vipdrift_core::{
    Action, AllUnhealthy, Carry, CarryGroup, CheckConfig, CheckIndex, Command, Drained, Drift, Effect, Event,
    Failback, GroupConfig, GroupIndex, InterfaceIndex, IsolatedPolicy, LinkFacts, Node, NodeConfig,
    NodeIndex, OccupiedPolicy, Outline, Path, PathIndex, PeerConfig, Plan, Reference, RoleName, Scope, Start,
    Switchover, Ticket, Timestamp, Vip, VipIndex,
};
use vipdrift_wire::heartbeat::{
    Echo, Errand, ErrandOutcome, GroupId, GroupState, Health, Heartbeat, MAX_DATAGRAM, Message, NodeId,
    OUTLINE_PARTS_MAX, Order, OutlinePart, Progress, Role, Setting, States, Word, WordKind, decode, encode,
};
use vipdrift_wire::{Frame, Mac, arp, ndp, parse_frame};

use crate::Seed;
use crate::heartbeat::bare_group;
use crate::reader::Choices;
use crate::seal::{KEYS, seal};

const HEARTBEAT: Duration = Duration::from_millis(50);
const GROUP: GroupId = GroupId(77);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const ETH0: InterfaceIndex = InterfaceIndex(0);
const PEERS: [&str; 2] = ["alpha", "charlie"];
/// More actions than one event can have the node want: a bound on the work that one datagram causes.
const MOST_ACTIONS: usize = 200;
/// Longest list of events.
const MOST_STEPS: usize = 300;

/// Runs a node through the events that `bytes` say.
///
/// # Panics
///
/// When a property is broken.
pub fn run(bytes: &[u8]) {
    let world = play(bytes);
    assert_eq!(world.node.snapshot().groups.len(), 1);
}

fn play(bytes: &[u8]) -> World {
    let mut choices = Choices(bytes);
    let mut world = World::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        world.step(&mut choices);
    }
    world
}

struct World {
    node: Node,
    /// As its heartbeats say.
    incarnation: Option<u64>,
    now: Timestamp,
    peers: [Peer; 2],
    /// What the node was last told that the kernel holds.
    mounted: BTreeSet<VipIndex>,
    /// The last plan.
    plan: Option<(Plan, BTreeSet<VipIndex>)>,
    /// Tickets given out, and whether they were answered.
    tickets: BTreeMap<Ticket, bool>,
    /// Every role that the node has taken.
    roles: Vec<RoleName>,
    exited: bool,
}

/// A peer that the bytes speak for.
struct Peer {
    id: NodeId,
    incarnation: u64,
    sequence: u64,
    heard: Option<(u64, u64)>,
    version: u32,
    state: GroupState,
    outline: Outline,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let config = config(choices);
        let (outline, incarnation) = (config.outline.clone(), None);
        let start = if choices.below(4) == 3 {
            Start::Resumed(Carry {
                drained: Drained { node: choices.flag(), ..Drained::default() },
                plan: choices.number(),
                groups: vec![CarryGroup { group: GROUP.0, term: choices.number(), active: choices.flag() }],
                failing: Vec::new(),
                errands: Vec::new(),
                ordered: None,
            })
        } else {
            Start::Fresh { drained: Drained { node: choices.below(8) == 7, ..Drained::default() } }
        };
        // A keeper tells a brain that resumes what is mounted, first of all.
        let report = match &start {
            Start::Resumed(carry) => {
                let all = vec![VipIndex(0), VipIndex(1)];
                Some((Plan(carry.plan), if carry.groups[0].active { all } else { vec![] }))
            }
            Start::Fresh { .. } => None,
        };
        let mut world = Self {
            node: Node::new(config, choices.number(), start, now),
            incarnation,
            now,
            peers: PEERS.map(|name| Peer {
                outline: outline.clone(),
                id: NodeId::of(name),
                incarnation: 1,
                sequence: 0,
                heard: None,
                version: 1,
                state: bare_group(GROUP.0),
            }),
            mounted: BTreeSet::new(),
            plan: None,
            tickets: BTreeMap::new(),
            roles: Vec::new(),
            exited: false,
        };
        world.drain();
        world.give(Event::Link { interface: ETH0, facts: facts(0xff) });
        if let Some((plan, mounted)) = report {
            world.mounted = mounted.iter().copied().collect();
            world.give(Event::Applied { plan, mounted, failed: vec![], complete: true });
        }
        world
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(20) {
            0 | 1 => {
                for _ in 0..=choices.below(32) {
                    self.next_timeout();
                }
            }
            // Nothing happens for a while, and the node does not run.
            2 => {
                self.now = self.now + choices.span();
                self.timeout();
            }
            3 => {
                let path = self.path(choices);
                let bytes = choices.bytes();
                self.give(Event::Datagram { path, bytes });
            }
            4 => {
                let path = self.path(choices);
                let bytes = seal(choices.bytes());
                self.give(Event::Datagram { path, bytes: &bytes });
            }
            5 => {
                let bytes = choices.bytes();
                self.give(Event::Frame { interface: ETH0, bytes });
            }
            6 | 7 => {
                // As a living peer does it, with nothing new.
                for peer in 0..self.peers.len() {
                    self.speak(peer, |_| {});
                }
            }
            8 | 9 => self.say(choices),
            10 => self.change_heartbeat(choices),
            11 => {
                let peer = choices.below(2);
                let Peer { id, incarnation, .. } = self.peers[peer];
                let span = choices.span();
                let kind = choices.pick([
                    WordKind::Holding { at_most: span },
                    WordKind::Resigned,
                    WordKind::LeaseEnds { within: span },
                    WordKind::Absent { at_most: span },
                ]);
                let word = Word { sender: id, incarnation, kind };
                let bytes = encode(&Message::Word(word), &KEYS);
                self.give(Event::Datagram { path: Some(PathIndex(peer)), bytes: &bytes });
            }
            12 | 13 => {
                let bytes = claim(choices);
                self.give(Event::Frame { interface: ETH0, bytes: &bytes });
            }
            14 => {
                let last = choices.pick([11, 13, 1, 100, 77]);
                let from = Ipv4Addr::new(192, 0, 2, last).into();
                self.give(Event::EchoReply { from });
            }
            15 => self.give(Event::Link { interface: ETH0, facts: facts(choices.byte()) }),
            16 => self.apply(choices),
            17 => {
                let vip = VipIndex(choices.below(2));
                let drift = choices.pick([Drift::Removed, Drift::Added]);
                self.give(Event::Drifted { vip, drift });
            }
            18 => self.command(choices),
            _ => match choices.below(6) {
                0 => self.give(Event::ClockGap { missing: choices.span() }),
                1 => self.give(Event::SlowSide { alive: choices.flag() }),
                2 if choices.byte() == 99 => self.give(Event::KeeperGone),
                3 => {
                    let check = CheckIndex(choices.below(3));
                    let failing = choices.flag().then(|| "refused".to_owned());
                    self.give(Event::Check { check, failing });
                }
                4 => self.outline(choices),
                _ => self.timeout(),
            },
        }
    }

    fn path(&self, choices: &mut Choices<'_>) -> Option<PathIndex> {
        choices.pick([Some(PathIndex(0)), Some(PathIndex(1)), None])
    }

    /// A peer says something of the group.
    fn say(&mut self, choices: &mut Choices<'_>) {
        let peer = choices.below(2);
        let ids = [self.peers[0].id, NodeId::of("bravo"), self.peers[1].id, NodeId(1)];
        let speaker = &mut self.peers[peer];
        speaker.version = speaker.version.wrapping_add(1);
        speaker.state.version = speaker.version;
        let flags = choices.byte();
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let state = &mut speaker.state;
        state.role = choices.pick([Role::Active, Role::Standby, Role::Fault, Role::Drained]);
        state.term = choices.number();
        (state.mounted, state.claiming, state.proving, state.hitless) = (flag(0), flag(1), flag(2), flag(3));
        state.demoted = flag(7);
        state.heir = flag(4).then(|| choices.pick(ids));
        state.mac = flag(5).then(|| mac(choices));
        state.answered_by = flag(6).then(|| mac(choices));
        self.speak(peer, |_| {});
    }

    /// A peer says something else than it should.
    fn change_heartbeat(&mut self, choices: &mut Choices<'_>) {
        let peer = choices.below(2);
        let value = choices.number();
        let small = u32::try_from(value & 0xffff_ffff).expect("32 bits");
        let what = choices.below(12);
        match what {
            0 => (self.peers[peer].incarnation, self.peers[peer].sequence) = (value, 0),
            1 => self.peers[peer].sequence = value,
            _ => {}
        }
        self.speak(peer, |heartbeat| match what {
            2 => heartbeat.interval = Duration::from_micros(value),
            3 => heartbeat.leaving = true,
            4 => heartbeat.solicit = true,
            5 => heartbeat.states_version = small,
            6 => heartbeat.states_seen = small,
            7 => heartbeat.states = None,
            8 => heartbeat.echo.iter_mut().for_each(|echo| echo.age = Duration::from_micros(value)),
            9 => heartbeat.echo.iter_mut().for_each(|echo| echo.sequence = value),
            10 => {
                if let Some(states) = &mut heartbeat.states {
                    (states.base, states.count, states.groups[0].group.0) = (small, 2, value);
                }
            }
            11 => {
                heartbeat.health = Health::Drained;
                heartbeat.config_digest = value;
                heartbeat.slow_side_alive = false;
                let order = if value.is_multiple_of(2) { Order::Drain } else { Order::Undrain };
                heartbeat.errand =
                    Some(Errand { number: small, order, group: value.is_multiple_of(3).then_some(GROUP) });
                heartbeat.outcome = Some(ErrandOutcome { number: small, progress: Progress::Done });
            }
            _ => {}
        });
    }

    fn speak(&mut self, peer: usize, change: impl FnOnce(&mut Heartbeat)) {
        let speaker = &mut self.peers[peer];
        speaker.sequence = speaker.sequence.wrapping_add(1);
        let mut heartbeat = Heartbeat {
            sender: speaker.id,
            receiver: NodeId::of("bravo"),
            incarnation: speaker.incarnation,
            sequence: speaker.sequence,
            echo: speaker.heard.map(|(incarnation, sequence)| Echo {
                incarnation,
                sequence,
                age: Duration::ZERO,
            }),
            interval: HEARTBEAT,
            config_digest: speaker.outline.digest(),
            health: Health::Healthy,
            solicit: false,
            leaving: false,
            slow_side_alive: true,
            hears_slowly: false,
            states_version: speaker.version,
            states_seen: 0,
            states: Some(States { base: 0, index: 0, count: 1, groups: vec![speaker.state] }),
            errand: None,
            outcome: None,
        };
        change(&mut heartbeat);
        let bytes = encode(&Message::Heartbeat(heartbeat), &KEYS);
        self.give(Event::Datagram { path: Some(PathIndex(peer)), bytes: &bytes });
    }

    /// A peer has another configuration, or tells of it: in parts, of which some may be missing, or something else than
    /// it is.
    fn outline(&mut self, choices: &mut Choices<'_>) {
        let peer = choices.below(2);
        let what = choices.byte();
        if what >= 128 {
            let lease = if choices.flag() { "2s" } else { "3s" };
            let settings = (0..choices.below(60)).map(|n| Setting::new(format!("group g{n} vips"), "one"));
            let settings = settings.chain([Setting::new("cluster.lease", lease)]).collect::<Vec<_>>();
            self.peers[peer].outline = settings.into();
            return self.speak(peer, |_| {});
        }
        let Peer { id, incarnation, ref outline, .. } = self.peers[peer];
        let settings = outline.settings();
        let size = settings.len().div_ceil(1 + choices.below(4)).clamp(1, 20);
        let count = u16::try_from(settings.len().div_ceil(size)).expect("few").min(OUTLINE_PARTS_MAX);
        let index = choices.below(usize::from(count));
        let mut part = OutlinePart {
            sender: id,
            receiver: NodeId::of("bravo"),
            incarnation,
            receiver_incarnation: self.incarnation.unwrap_or(1),
            config_digest: outline.digest(),
            index: u16::try_from(index).expect("few"),
            count,
            settings: settings.iter().skip(index * size).take(size).cloned().collect(),
        };
        match what {
            0 => part.incarnation ^= 1,
            1 => part.receiver_incarnation ^= 1,
            2 => part.config_digest = choices.number(),
            3 => part.settings.truncate(1),
            4 => part.receiver = id,
            _ => {}
        }
        let bytes = encode(&Message::Outline(part), &KEYS);
        self.give(Event::Datagram { path: Some(PathIndex(peer)), bytes: &bytes });
    }

    /// The keeper answers the last plan: wholly, in part, by a failure, or says that all is lost.
    fn apply(&mut self, choices: &mut Choices<'_>) {
        let Some((plan, desired)) = self.plan.clone() else { return };
        let how = choices.below(6);
        let (mounted, failed): (Vec<_>, Vec<_>) = match how {
            3 => (desired.iter().take(1).copied().collect(), vec![]),
            4 => (vec![], desired.iter().map(|vip| (*vip, "refused".to_owned())).collect()),
            5 => (vec![], vec![]),
            _ => (desired.into_iter().collect(), vec![]),
        };
        self.mounted = mounted.iter().copied().collect();
        self.give(Event::Applied { plan, mounted, failed, complete: how != 3 });
    }

    fn command(&mut self, choices: &mut Choices<'_>) {
        let ticket = Ticket(self.tickets.len() as u64);
        let to = choices.pick([None, Some("alpha"), Some("bravo"), Some("charlie"), Some("zulu")]);
        let command = match choices.below(8) {
            3 => {
                let (group, to) = (GroupIndex(0), to.map(str::to_owned));
                Command::Drill { ticket, group, to, stay: HEARTBEAT }
            }
            0..=2 => Command::Switchover { ticket, group: GroupIndex(0), to: to.map(str::to_owned) },
            4 => Command::Drain { ticket, scope: Scope { node: to.map(str::to_owned), group: None } },
            5 | 6 => Command::Undrain { ticket, scope: Scope { node: to.map(str::to_owned), group: None } },
            _ => Command::Shutdown,
        };
        if command != Command::Shutdown {
            self.tickets.insert(ticket, false);
        }
        self.give(Event::Command(command));
    }

    fn next_timeout(&mut self) {
        if let Some(deadline) = self.node.next_deadline() {
            self.now = self.now.max(deadline.at);
        }
        self.timeout();
    }

    fn timeout(&mut self) {
        self.give(Event::Timeout);
        if let Some(deadline) = self.node.next_deadline() {
            assert!(deadline.at > self.now, "no progress: {deadline:?} at {}", self.now);
        }
    }

    fn give(&mut self, event: Event<'_>) {
        self.node.handle(event, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(action) = self.node.poll_action() {
            count += 1;
            assert!(count < MOST_ACTIONS, "too many actions at once: {action:?}");
            self.check(action);
        }
        assert_eq!(self.exited, self.node.next_deadline().is_none(), "it waits for something until its end");
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::SendDatagram { path, bytes } => {
                assert!(bytes.len() <= MAX_DATAGRAM);
                if let Message::Heartbeat(said) = decode(&bytes, &KEYS).expect("a datagram") {
                    let peer = &mut self.peers[path.0];
                    assert_eq!(said.receiver, peer.id);
                    peer.heard = Some((said.incarnation, said.sequence));
                    self.incarnation = Some(said.incarnation);
                }
            }
            Action::SendFrame { bytes, .. } => {
                let (_, frame) = parse_frame(&bytes).expect("a frame");
                let vip = match frame {
                    Frame::Arp(packet) if packet.claims() == Some(V4) => VipIndex(0),
                    Frame::Neighbor(message) if message.claims() == Some(V6) => VipIndex(1),
                    _ => return,
                };
                assert!(self.mounted.contains(&vip), "announces {vip:?}, which is not mounted");
            }
            Action::Apply { plan, desired } => {
                assert!(self.plan.as_ref().is_none_or(|(last, _)| plan > *last), "plans grow");
                assert!(desired.iter().all(|vip| vip.0 < 2), "only VIPs of the configuration");
                self.plan = Some((plan, desired));
            }
            Action::Reply { ticket, outcome } => {
                let text = match outcome {
                    Ok(text) | Err(text) => text,
                };
                assert!(!text.is_empty());
                let answered = self.tickets.get_mut(&ticket).expect("a ticket that was given out");
                assert!(!std::mem::replace(answered, true), "{ticket:?} is answered twice");
            }
            Action::Words(words) => {
                for word in [words.holding, words.resigned] {
                    assert!(matches!(decode(&word, &KEYS), Ok(Message::Word(_))));
                }
            }
            Action::Record(decision) => {
                assert!(!decision.reason.is_empty(), "no reason: {decision:?}");
                self.roles.push(decision.to);
            }
            Action::Note(note) => assert!(!note.text.is_empty()),
            Action::Drilled { ticket, legs } => {
                assert_eq!(legs.len(), 2, "there and back");
                let answered = self.tickets.get_mut(&ticket).expect("a ticket that was given out");
                assert!(!std::mem::replace(answered, true), "{ticket:?} is answered twice");
            }
            Action::Exit => {
                self.exited = true;
                assert!(self.tickets.values().all(|answered| *answered), "ends and owes an answer");
            }
            Action::SendEcho { .. }
            | Action::Beat { .. }
            | Action::Remember(_)
            | Action::Prepare { .. }
            | Action::Unprepare { .. } => {}
        }
    }
}

fn mac(choices: &mut Choices<'_>) -> Mac {
    Mac([2, 0, 0, 0, 0, choices.pick([1, 2, 3, 0xfe])])
}

/// Somebody asks or answers.
fn claim(choices: &mut Choices<'_>) -> Vec<u8> {
    let who = mac(choices);
    let v4 = Ipv4Addr::new(192, 0, 2, choices.pick([100, 11, 13, 1, 50]));
    let operation = choices.pick([arp::Operation::Reply, arp::Operation::Request]);
    match choices.below(6) {
        0 | 1 => arp::announcement(who, v4, operation),
        2 => ndp::announcement(who, V6),
        3 => arp::probe(who, v4),
        4 => ndp::probe(who, V6),
        _ => arp::request(who, v4, V4, Mac::BROADCAST),
    }
}

/// Facts about the interface, of which some do not hold.
fn facts(bits: u8) -> LinkFacts {
    let bit = |number: u8| bits >> number & 1 == 1;
    if !bit(0) {
        return LinkFacts::default();
    }
    let networks = ["192.0.2.12/24", "2001:db8::12/64"].map(|net| net.parse().expect("a network"));
    LinkFacts {
        present: true,
        running: bit(1),
        mac: bit(2).then_some(Mac([2, 0, 0, 0, 0, 2])),
        addresses: if bit(3) { networks.into() } else { vec![] },
        gateways: if bit(4) { vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))] } else { vec![] },
    }
}

fn config(choices: &mut Choices<'_>) -> NodeConfig {
    let address = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let path = |peer, last| Path { peer: NodeIndex(peer), local: address(12), remote: address(last) };
    let bits = choices.byte();
    let bit = |number: u8| bits >> number & 1 == 1;
    NodeConfig {
        name: "bravo".into(),
        id: NodeId::of("bravo"),
        keys: KEYS.clone(),
        outline: vec![Setting::new("cluster.lease", "2s"), Setting::new("group web vips", "two")].into(),
        heartbeat: HEARTBEAT,
        answers_within: Duration::ZERO,
        dead_after: 3,
        lease: (!bit(0)).then_some(Duration::from_secs(2)),
        hold: Duration::from_millis(250),
        start_wait: if bit(1) { Duration::ZERO } else { Duration::from_secs(3) },
        peers: PEERS.map(|name| PeerConfig { name: name.into(), id: NodeId::of(name) }).into(),
        paths: vec![path(0, 11), path(1, 13)],
        interfaces: vec!["eth0".into()],
        vips: ["192.0.2.100/24", "2001:db8::100/64"]
            .map(|vip| Vip { interface: ETH0, address: vip.parse().expect("an address") })
            .into(),
        groups: vec![GroupConfig {
            name: "web".into(),
            id: GROUP,
            interface: ETH0,
            vips: vec![VipIndex(0), VipIndex(1)],
            order: if bit(2) { ["bravo", "alpha", "charlie"] } else { ["alpha", "bravo", "charlie"] }
                .map(NodeId::of)
                .into(),
            together: vec![],
            apart: vec![],
            failback: if bit(3) { Failback::After(Duration::from_secs(1)) } else { Failback::Never },
            occupied: if bit(4) { OccupiedPolicy::Claim } else { OccupiedPolicy::Wait },
            switchover: if bit(5) { Switchover::Hitless } else { Switchover::Strict },
            references: if bit(6) {
                vec![Reference::Gateway, Reference::Address(address(50))]
            } else {
                vec![Reference::Auto]
            },
            isolated: if bit(7) { IsolatedPolicy::Keep } else { IsolatedPolicy::Release },
            gate: None,
            all_unhealthy: if bit(3) { AllUnhealthy::Release } else { AllUnhealthy::Keep },
        }],
        sparing: bit(4),
        checks: [("http", Effect::Fault), ("load", Effect::Demote)]
            .map(|(name, effect)| CheckConfig {
                name: name.into(),
                group: GroupIndex(0),
                effect,
                initially_passing: true,
            })
            .into(),
    }
}

/// Seeds of [`run`]: short stories, told in the choices above.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    // Configuration, fresh start, seed of the node; then timeouts until it has listened and asked.
    let begin = |bits: u8| vec![bits, 0, 0, 1];
    let wait = [0, 31];
    let (speak, applied) = ([6], [16, 0]);
    let story = |bits, steps: &[&[u8]]| [begin(bits), steps.concat()].concat();
    let until_active: Vec<u8> = [&speak[..], &wait, &speak, &wait, &speak, &wait, &applied, &wait].concat();
    let alpha_is_active = [8, 0, 0b10_0001, 0, 1, 0];
    let frame = arp::announcement(Mac([2, 0, 0, 0, 0, 0xfe]), V4, arp::Operation::Reply);
    let length = u8::try_from(frame.len()).expect("short");
    let raw_frame = [&[5, length][..], &frame].concat();
    let (alpha, bravo) = (NodeId::of("alpha").0.to_be_bytes(), NodeId::of("bravo").0.to_be_bytes());
    let body = [&[1][..], &alpha, &bravo, &[0; 40], &[0, 4, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
    let raw_body = [&[4, 0, u8::try_from(body.len()).expect("short")][..], &body].concat();
    vec![
        ("alone", story(0b110, &[&wait, &wait, &wait, &applied, &wait])),
        ("takes-over", story(0, &[&alpha_is_active, &wait, &alpha_is_active, &wait, &wait, &applied, &wait])),
        ("switchover", story(0b100_100, &[&until_active, &[18, 1, 0], &wait, &speak, &wait, &applied])),
        ("drain", story(0b100, &[&until_active, &[18, 0, 4], &wait, &applied, &[18, 0, 5], &wait])),
        ("foreign-holder", story(0b100, &[&speak, &wait, &raw_frame, &wait, &raw_frame, &wait])),
        ("bodies", story(0, &[&raw_body, &wait, &[10, 0, 255, 2], &wait, &[10, 1, 255, 0], &speak])),
        ("link-lost", story(0b100, &[&until_active, &[15, 0], &wait, &[15, 0xff], &wait, &applied])),
        (
            "differs",
            story(0, &[&speak, &wait, &speak, &[19, 4, 0, 200, 0, 0], &wait, &[19, 4, 0, 100, 0, 0], &speak]),
        ),
        (
            "check-fails",
            story(0b100, &[&until_active, &[19, 3, 0, 1], &wait, &speak, &wait, &applied, &[19, 3, 0, 0]]),
        ),
        ("late", story(0b1000_0100, &[&until_active, &[2, 20, 0], &wait, &applied, &[19, 0, 4, 0], &wait])),
        (
            "resumed-at-the-limit",
            [&[0b100, 3, 0, 255, 255, 1, 1][..], &wait, &speak, &wait, &applied, &wait].concat(),
        ),
        ("shutdown", story(0b100, &[&until_active, &[18, 0, 7], &wait, &[16, 5], &wait])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a fuzzer would begin far from where decisions are made.
    #[test]
    fn the_stories_go_where_their_names_say() {
        let told: Vec<_> = seeds()
            .into_iter()
            .map(|(name, bytes)| (name, play(&bytes)))
            .map(|(name, world)| {
                let end = if world.exited { ", ends" } else { "" };
                let peers = world.node.snapshot().peers.into_iter().filter(|peer| !peer.differs.is_empty());
                let differ: String =
                    peers.map(|peer| format!(", {} {:?}", peer.name, peer.differs)).collect();
                format!("{name}: {:?}{differ}{end}", world.roles)
            })
            .collect();
        let expected = [
            "alone: [Active]",
            "takes-over: [Active]",
            "switchover: [Active]",
            "drain: [Active, Drained, Standby]",
            "foreign-holder: []",
            "bodies: []",
            "link-lost: [Active, Fault, Standby]",
            "differs: [], alpha [\"cluster.lease\", \"only here: group web\"]",
            "check-fails: [Active, Fault, Standby]",
            "late: [Active, Active]",
            "resumed-at-the-limit: [Active]",
            "shutdown: [Active, Fault], ends",
        ];
        assert_eq!(told, expected);
    }
}
