//! One node on the bench: its peers are puppets that speak real heartbeats, its keeper and LAN are the test.
//!
//! Whatever the node does passes through [`Bench::check`], which knows the order of effects.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vipdrift_wire::heartbeat::{
    Echo, Errand, ErrandOutcome, GroupId, GroupState, Health, Heartbeat, Keys, Message, NodeId, Role,
    Setting, States, Word, WordKind, decode, encode,
};
use vipdrift_wire::{Frame, Mac, arp, ndp, parse_frame};

use crate::group::State;
use crate::{
    Action, AllUnhealthy, Carry, CheckConfig, Decision, Drained, Effect, Event, Failback, GroupConfig,
    GroupIndex, InterfaceIndex, IsolatedPolicy, LinkFacts, Node, NodeConfig, NodeIndex, OccupiedPolicy,
    Outline, Path, PathIndex, PeerConfig, Plan, Reference, Start, Switchover, Ticket, Timestamp, Vip,
    VipIndex,
};

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(50);
pub(crate) const GROUP: GroupId = GroupId(77);
pub(crate) const VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
pub(crate) const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
pub(crate) const OWN_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(crate) const FOREIGN_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
/// The peers, by their position in the configuration: one comes before this node in the group's order, one after.
pub(crate) const ALPHA: usize = 0;
pub(crate) const CHARLIE: usize = 1;

pub(crate) fn keys() -> Keys {
    Keys::new("bench", b"0123456789abcdef", None)
}

pub(crate) fn outline() -> Outline {
    vec![Setting::new("cluster.heartbeat", "50ms"), Setting::new("group web vips", "two")].into()
}

/// A peer that says what it is told to say.
#[derive(Debug)]
pub(crate) struct Puppet {
    pub(crate) id: NodeId,
    pub(crate) mac: Mac,
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    /// What it last heard from the node.
    pub(crate) heard: Option<(u64, u64, Timestamp)>,
    /// When it speaks.
    pub(crate) now: Timestamp,
    pub(crate) version: u32,
    pub(crate) state: GroupState,
    pub(crate) health: Health,
    pub(crate) speaks: bool,
    /// It says that answers reach it late.
    pub(crate) hears_slowly: bool,
    pub(crate) errand: Option<Errand>,
    pub(crate) outcome: Option<ErrandOutcome>,
}

impl Puppet {
    pub(crate) fn new(name: &'static str, mac: Mac) -> Self {
        let state = GroupState {
            group: GROUP,
            version: 1,
            role: Role::Standby,
            term: 0,
            mounted: false,
            claiming: false,
            proving: false,
            hitless: false,
            demoted: false,
            heir: None,
            mac: Some(mac),
            answered_by: None,
        };
        let id = NodeId::of(name);
        Self {
            id,
            mac,
            incarnation: id.0 | 1,
            sequence: 0,
            heard: None,
            now: Timestamp::ZERO,
            version: 1,
            state,
            health: Health::Healthy,
            speaks: true,
            hears_slowly: false,
            errand: None,
            outcome: None,
        }
    }

    /// Its next heartbeat.
    pub(crate) fn heartbeat(&mut self, receiver: NodeId) -> Heartbeat {
        self.sequence += 1;
        Heartbeat {
            sender: self.id,
            receiver,
            incarnation: self.incarnation,
            sequence: self.sequence,
            echo: self.heard.map(|(incarnation, sequence, at)| Echo {
                incarnation,
                sequence,
                age: self.now.since(at),
            }),
            interval: HEARTBEAT,
            config_digest: outline().digest(),
            health: self.health,
            solicit: false,
            leaving: false,
            slow_side_alive: true,
            hears_slowly: self.hears_slowly,
            states_version: self.version,
            states_seen: 0,
            states: Some(States { base: 0, index: 0, count: 1, groups: vec![self.state] }),
            errand: self.errand,
            outcome: self.outcome,
        }
    }
}

/// What the node did since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) actions: usize,
    pub(crate) announced: usize,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) replies: Vec<(Ticket, Result<String, String>)>,
    pub(crate) exited: bool,
    pub(crate) carry: Option<Carry>,
    pub(crate) notes: Vec<String>,
    pub(crate) legs: Vec<crate::Leg>,
    /// What was to be prepared, by number, or undone.
    pub(crate) prepared: Vec<Option<u64>>,
    /// What was asked of each puppet, and told it of its errands, with each heartbeat.
    pub(crate) sent: Vec<(usize, Option<Errand>, Option<ErrandOutcome>)>,
}

impl Done {
    pub(crate) fn errands(&self, puppet: usize) -> Vec<Option<Errand>> {
        self.sent.iter().filter(|(to, ..)| *to == puppet).map(|(_, errand, _)| *errand).collect()
    }

    pub(crate) fn outcomes(&self, puppet: usize) -> Vec<Option<ErrandOutcome>> {
        self.sent.iter().filter(|(to, ..)| *to == puppet).map(|(.., outcome)| *outcome).collect()
    }
}

pub(crate) struct Bench {
    pub(crate) node: Node,
    /// The node as it was brought back from a checkpoint; it hears what the node hears.
    pub(crate) twin: Option<Node>,
    pub(crate) now: Timestamp,
    pub(crate) puppets: [Puppet; 2],
    /// What the node was last told of the kernel.
    pub(crate) mounted: BTreeSet<VipIndex>,
    /// The last plan and what it asks for.
    pub(crate) plan: (Plan, BTreeSet<VipIndex>),
    pub(crate) done: Done,
    /// The keeper carries out what it is told.
    pub(crate) obedient: bool,
    depth: u32,
    /// The group's state before the last event.
    before: State,
    orders: Vec<(Plan, BTreeSet<VipIndex>)>,
    next_beat: Timestamp,
}

pub(crate) fn config(switchover: Switchover, occupied: OccupiedPolicy) -> NodeConfig {
    let local = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
    let remote = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let id = NodeId::of;
    NodeConfig {
        name: "bravo".into(),
        id: id("bravo"),
        keys: keys(),
        outline: outline(),
        heartbeat: HEARTBEAT,
        answers_within: Duration::ZERO,
        dead_after: 3,
        lease: Some(Duration::from_secs(2)),
        hold: Duration::from_millis(250),
        start_wait: Duration::from_secs(3),
        peers: ["alpha", "charlie"].map(|name| PeerConfig { name: name.into(), id: id(name) }).into(),
        paths: vec![
            Path { peer: NodeIndex(ALPHA), local, remote: remote(11) },
            Path { peer: NodeIndex(CHARLIE), local, remote: remote(13) },
        ],
        interfaces: vec!["eth0".into()],
        vips: ["192.0.2.100/24", "2001:db8::100/64"]
            .map(|address| Vip {
                interface: InterfaceIndex(0),
                address: address.parse().expect("an address"),
            })
            .into(),
        groups: vec![GroupConfig {
            name: "web".into(),
            id: GROUP,
            interface: InterfaceIndex(0),
            vips: vec![VipIndex(0), VipIndex(1)],
            order: ["alpha", "bravo", "charlie"].map(id).into(),
            together: vec![],
            apart: vec![],
            failback: Failback::Never,
            occupied,
            switchover,
            references: vec![Reference::Auto],
            isolated: IsolatedPolicy::Release,
            all_unhealthy: AllUnhealthy::Keep,
            gate: None,
        }],
        sparing: false,
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

/// The interface when all is well.
pub(crate) fn facts() -> LinkFacts {
    LinkFacts {
        present: true,
        running: true,
        mac: Some(OWN_MAC),
        addresses: ["192.0.2.12/24", "2001:db8::12/64"].map(|net| net.parse().expect("a network")).into(),
        gateways: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))],
    }
}

impl Bench {
    pub(crate) fn new(switchover: Switchover, occupied: OccupiedPolicy) -> Self {
        Self::with(config(switchover, occupied))
    }

    pub(crate) fn with(config: NodeConfig) -> Self {
        Self::begin(config, Start::Fresh { drained: Drained::default() })
    }

    /// The next brain, whose keeper holds what this one's was told to.
    pub(crate) fn resumed(carry: Carry) -> Self {
        let config = config(Switchover::Strict, OccupiedPolicy::Wait);
        let held = carry.groups.iter().any(|group| group.active);
        let plan = Plan(carry.plan);
        let mut bench = Self::begin(config, Start::Resumed(carry));
        let mounted = if held { BTreeSet::from([VipIndex(0), VipIndex(1)]) } else { BTreeSet::new() };
        bench.applied(plan, mounted);
        bench
    }

    fn begin(config: NodeConfig, start: Start) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000);
        let node = Node::new(config, 4711, start, now);
        let mut bench = Self {
            node,
            twin: None,
            now,
            puppets: [
                Puppet::new("alpha", Mac([2, 0, 0, 0, 0, 1])),
                Puppet::new("charlie", Mac([2, 0, 0, 0, 0, 3])),
            ],
            mounted: BTreeSet::new(),
            plan: (Plan(0), BTreeSet::new()),
            done: Done::default(),
            obedient: true,
            depth: 0,
            before: State::Standby,
            orders: Vec::new(),
            next_beat: now + Duration::from_millis(1),
        };
        bench.drain();
        bench.give(Event::Link { interface: InterfaceIndex(0), facts: facts() });
        bench
    }

    /// Active, with charlie standby and alpha in fault.
    pub(crate) fn active() -> Self {
        let mut bench = Self::new(Switchover::Strict, OccupiedPolicy::Wait);
        bench.puppets[ALPHA].state.role = Role::Fault;
        bench.pass(HEARTBEAT * 40);
        assert!(matches!(bench.state(), State::Active), "{:?}", bench.state());
        bench.done = Done::default();
        bench
    }

    /// The answer to a command.
    pub(crate) fn reply(&self, ticket: u64) -> Option<Result<&str, &str>> {
        let reply = self.done.replies.iter().find(|(known, _)| *known == Ticket(ticket))?;
        Some(reply.1.as_deref().map_err(String::as_str))
    }

    /// A puppet is active in the next term.
    pub(crate) fn takes_over(&mut self, puppet: usize) {
        let term = self.node.groups[0].term + 1;
        self.say(puppet, |state| (state.role, state.mounted, state.term) = (Role::Active, true, term));
    }

    /// From here on a node that was brought back from the checkpoint of this one must do the same.
    pub(crate) fn bring_back(&mut self) {
        let bytes = rmp_serde::to_vec_named(&self.node.checkpoint()).expect("a state can be written down");
        let checkpoint = rmp_serde::from_slice(&bytes).expect("and read");
        let twin = Node::restore(checkpoint, keys());
        assert_eq!(rmp_serde::to_vec_named(&twin.checkpoint()).expect("and written again"), bytes);
        self.twin = Some(twin);
    }

    pub(crate) fn give(&mut self, event: Event<'_>) {
        if let Event::Applied { mounted, .. } = &event {
            self.mounted = mounted.iter().copied().collect();
        }
        self.before = self.state().clone();
        if let Some(twin) = &mut self.twin {
            twin.handle(event.clone(), self.now);
        }
        self.node.handle(event, self.now);
        self.drain();
        // The keeper answers at once, but only after everything that was to be done before it.
        self.depth += 1;
        assert!(self.depth < 20, "node and keeper go round in circles: {:?}", self.state());
        while self.obedient && !self.orders.is_empty() {
            let (plan, desired) = self.orders.remove(0);
            self.applied(plan, desired);
        }
        self.depth -= 1;
    }

    /// The keeper says that the kernel holds exactly these.
    pub(crate) fn applied(&mut self, plan: Plan, mounted: BTreeSet<VipIndex>) {
        let mounted = mounted.into_iter().collect();
        self.give(Event::Applied { plan, mounted, failed: vec![], complete: true });
    }

    /// The keeper answers the orders that it has: 0 wholly, 1 in part, 2 by a failure, 3 not at all and for good.
    pub(crate) fn keeper_answers(&mut self, how: u8) {
        for (plan, desired) in std::mem::take(&mut self.orders) {
            let kept: BTreeSet<VipIndex> = self.mounted.intersection(&desired).copied().collect();
            match how {
                0 => self.applied(plan, desired),
                1 => {
                    let first = desired.iter().next().copied();
                    let mounted = kept.into_iter().chain(first).collect();
                    self.give(Event::Applied { plan, mounted, failed: vec![], complete: false });
                }
                2 => {
                    let failed = desired.difference(&kept).map(|&vip| (vip, "refused".to_owned())).collect();
                    let mounted = kept.into_iter().collect();
                    self.give(Event::Applied { plan, mounted, failed, complete: true });
                }
                _ => self.orders.push((plan, desired)),
            }
        }
    }

    /// A puppet speaks.
    pub(crate) fn speak(&mut self, puppet: usize) {
        self.puppets[puppet].now = self.now;
        let heartbeat = self.puppets[puppet].heartbeat(self.node.config.id);
        self.send(puppet, &Message::Heartbeat(heartbeat));
    }

    /// A puppet says something new of the group.
    pub(crate) fn say(&mut self, puppet: usize, change: impl FnOnce(&mut GroupState)) {
        let puppet_ref = &mut self.puppets[puppet];
        puppet_ref.version += 1;
        change(&mut puppet_ref.state);
        puppet_ref.state.version = puppet_ref.version;
        self.speak(puppet);
    }

    pub(crate) fn word(&mut self, puppet: usize, kind: WordKind) {
        let Puppet { id, incarnation, .. } = self.puppets[puppet];
        self.send(puppet, &Message::Word(Word { sender: id, incarnation, kind }));
    }

    pub(crate) fn send(&mut self, puppet: usize, message: &Message) {
        let bytes = encode(message, &keys());
        self.give(Event::Datagram { path: Some(PathIndex(puppet)), bytes: &bytes });
    }

    /// Somebody announces a VIP.
    pub(crate) fn claim(&mut self, mac: Mac, v4: bool) {
        let bytes = if v4 {
            arp::announcement(mac, VIP_V4, arp::Operation::Reply)
        } else {
            ndp::announcement(mac, VIP_V6)
        };
        self.give(Event::Frame { interface: InterfaceIndex(0), bytes: &bytes });
    }

    /// Time passes; those who speak do so.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.node.next_deadline() {
            let next = deadline.at.min(self.next_beat);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if next == self.next_beat {
                self.next_beat = self.now + HEARTBEAT;
                for puppet in 0..self.puppets.len() {
                    if self.puppets[puppet].speaks {
                        self.speak(puppet);
                    }
                }
            } else {
                self.timeout();
            }
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn timeout(&mut self) {
        self.give(Event::Timeout);
        if let Some(deadline) = self.node.next_deadline() {
            assert!(deadline.at > self.now, "a deadline makes progress: {deadline:?} at {}", self.now);
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.node.groups[0].state
    }

    pub(crate) fn drain(&mut self) {
        let mut count = 0;
        while let Some(action) = self.node.poll_action() {
            count += 1;
            if let Some(twin) = &mut self.twin {
                assert_eq!(twin.poll_action().as_ref(), Some(&action), "node and twin differ");
            }
            self.check(action);
        }
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.poll_action(), None, "the twin does more");
            assert_eq!(twin.next_deadline(), self.node.next_deadline());
            assert_eq!(twin.snapshot(), self.node.snapshot());
        }
        assert!(count < 200, "{count} actions in one step");
        self.done.actions += count;
    }

    /// Looks at an action: is it right now?
    fn check(&mut self, action: Action) {
        match action {
            Action::SendFrame { bytes, .. } => {
                let (_, frame) = parse_frame(&bytes).expect("a frame that can be read");
                let vip = match frame {
                    Frame::Arp(packet) if packet.claims() == Some(VIP_V4) => VipIndex(0),
                    Frame::Neighbor(ndp::Message::Advertisement { target: VIP_V6, .. }) => VipIndex(1),
                    _ => return,
                };
                assert!(self.mounted.contains(&vip), "announces {vip:?}, which is not mounted");
                // The state may have gone on since the frame was made.
                let may = |state: &State| matches!(state, State::Mounting { .. } | State::Active);
                assert!(may(self.state()) || may(&self.before), "announces while {:?}", self.state());
                self.done.announced += 1;
            }
            Action::SendDatagram { path, bytes } => {
                if let Message::Heartbeat(heartbeat) = decode(&bytes, &keys()).expect("a datagram") {
                    self.puppets[path.0].heard = Some((heartbeat.incarnation, heartbeat.sequence, self.now));
                    self.done.sent.push((path.0, heartbeat.errand, heartbeat.outcome));
                    for state in heartbeat.states.iter().flat_map(|states| &states.groups) {
                        self.check_said(state);
                    }
                }
            }
            Action::Apply { plan, desired } => {
                assert!(plan > self.plan.0, "plans grow");
                assert!(desired.iter().all(|vip| vip.0 < 2), "only VIPs of the configuration");
                self.plan = (plan, desired.clone());
                self.orders.push((plan, desired));
            }
            Action::Beat { renew } => {
                let proving = matches!(self.state(), State::Proving { .. });
                assert!(!(renew && proving), "the lease is not renewed by a node that was away");
            }
            Action::Record(decision) => {
                assert!(!decision.reason.is_empty(), "a decision without a reason: {decision:?}");
                self.done.decisions.push(decision);
            }
            Action::Note(note) => {
                assert!(!note.text.is_empty(), "an empty note");
                self.done.notes.push(note.text);
            }
            Action::Reply { ticket, outcome } => self.done.replies.push((ticket, outcome)),
            Action::Drilled { ticket, legs } => {
                self.done.replies.push((ticket, Ok("drilled".to_owned())));
                self.done.legs = legs;
            }
            Action::Exit => self.done.exited = true,
            Action::Remember(carry) => self.done.carry = Some(carry),
            Action::Prepare { number, .. } => self.done.prepared.push(Some(number)),
            Action::Unprepare { .. } => self.done.prepared.push(None),
            Action::SendEcho { .. } | Action::Words(_) => {}
        }
    }

    /// What the node says of the group is so.
    fn check_said(&self, said: &GroupState) {
        let own = self.state();
        if said.role == Role::Active {
            assert!(matches!(own, State::Active), "says active while {own:?}");
            assert!(!self.mounted.is_empty(), "active with something mounted");
            assert!(said.mounted, "active and not mounted");
        }
        if !said.mounted {
            assert!(self.mounted.is_empty(), "says unmounted while the kernel has {:?}", self.mounted);
        }
    }
}
