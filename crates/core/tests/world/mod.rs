//! A small LAN for tests of the core: hosts with kernels that answer ARP, keepers that apply plans, one clock.
//! The world jumps from one event to the next; nothing sleeps.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]
#![allow(dead_code, reason = "each test program uses a part of it")]

mod config;
pub(crate) mod faults;

mod keeper;
mod lan;
pub(crate) mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipdrift_core::{
    Action, Checkpoint, Command, Event, GroupIndex, InterfaceIndex, LinkFacts, Node, PathIndex, Plan,
    RoleName, Start, Ticket, Timestamp, VipIndex,
};
use vipdrift_wire::{Frame, parse_frame};

use config::{GATEWAY, config, ip, mac, vip_index};
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use config::{GATEWAY_MAC, LEASE, Setup, name};
pub(crate) use keeper::Host;
use lan::Wire;
use random::Random;

const WIRE: Duration = Duration::from_micros(80);
const APPLY: Duration = Duration::from_micros(150);

/// What is to happen.
#[derive(Debug, Clone)]
enum Thing {
    Datagram {
        to: usize,
        from: usize,
        bytes: Vec<u8>,
    },
    Frame {
        to: usize,
        bytes: Vec<u8>,
    },
    EchoReply {
        to: usize,
        from: IpAddr,
    },
    /// The keeper has come to this plan.
    Apply {
        host: usize,
        life: u64,
        number: u64,
        plan: Plan,
        desired: BTreeSet<VipIndex>,
    },
    /// The kernel looks whether its addresses have come to their end.
    Lease {
        host: usize,
        life: u64,
    },
    /// The keeper looks whether its brain has shown itself.
    Watchdog {
        host: usize,
        life: u64,
        freeze: u64,
    },
    /// The keeper starts a brain.
    NewBrain {
        host: usize,
        life: u64,
        resumed: bool,
    },
}

/// Several hosts that see each other hold the same VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contest {
    pub(crate) group: usize,
    pub(crate) holders: Vec<usize>,
    /// A holder has no daemon: its kernel keeps the VIP until the lease ends.
    pub(crate) orphan: bool,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) hosts: Vec<Host>,
    pub(crate) setup: Setup,
    pub(crate) wire: Wire,
    pub(crate) random: Random,
    queue: BTreeMap<(Timestamp, u64), Thing>,
    serial: u64,
    tickets: u64,
    /// Index past the last node: the gateway.
    pub(crate) gateway_vips: BTreeSet<VipIndex>,
    /// Heartbeats do not pass.
    pub(crate) heartbeats_blocked: bool,
    /// Of the first group.
    pub(crate) two_holders: Duration,
    pub(crate) nobody: Duration,
    /// Of all groups.
    pub(crate) contests: Vec<Contest>,
    /// What the nodes decided and noted, in order.
    pub(crate) log: Vec<String>,
    /// Now and then each node gets a twin from its own checkpoint, which must do the same from then on.
    pub(crate) twins: Option<Random>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let hosts = (0..setup.nodes).map(|index| Host::new(ip(index), mac(index))).collect();
        Self {
            now: Timestamp::from_nanos(1_000_000_000),
            hosts,
            setup,
            wire: Wire::default(),
            random: Random::new(0),
            queue: BTreeMap::new(),
            serial: 0,
            tickets: 0,
            gateway_vips: BTreeSet::new(),
            heartbeats_blocked: false,
            two_holders: Duration::ZERO,
            nobody: Duration::ZERO,
            contests: Vec::new(),
            log: Vec::new(),
            twins: None,
        }
    }

    /// A running cluster, alpha active, a second old.
    pub(crate) fn running(setup: Setup) -> Self {
        let mut world = Self::new(setup);
        for index in 0..world.hosts.len() {
            world.start(index, Start::Fresh { drained: false });
        }
        world.run(Duration::from_secs(1));
        assert_eq!(world.holders(), vec![0], "alpha is active at first: {:?}", world.hosts[0].notes);
        world.two_holders = Duration::ZERO;
        world.nobody = Duration::ZERO;
        world
    }

    pub(crate) fn report_link(&mut self, index: usize) {
        let host = &self.hosts[index];
        let facts = LinkFacts {
            present: true,
            running: host.plugged,
            mac: Some(host.mac),
            addresses: if host.addressless {
                vec![]
            } else {
                vec![format!("{}/24", host.ip).parse().unwrap()]
            },
            gateways: if self.setup.gateway { vec![IpAddr::V4(GATEWAY)] } else { vec![] },
        };
        self.give(index, Event::Link { interface: InterfaceIndex(0), facts });
    }

    pub(crate) fn give(&mut self, index: usize, event: Event<'_>) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.frozen.is_some() {
            return host.keep_for_later(event);
        }
        if let Some(node) = host.node.as_mut() {
            match &event {
                Event::Applied { mounted, .. } => host.told = mounted.iter().copied().collect(),
                Event::Command(
                    Command::Switchover { ticket, .. }
                    | Command::Drain { ticket }
                    | Command::Undrain { ticket },
                ) => {
                    host.open.insert(*ticket);
                }
                _ => {}
            }
            if let Some(random) = &mut self.twins {
                if random.chance(if host.twin.is_some() { 2 } else { 100 }) {
                    host.twin = Some(twin(node, config(&self.setup, index).keys));
                }
                if let Some(twin) = &mut host.twin {
                    twin.handle(event.clone(), now);
                }
            }
            node.handle(event, now);
            self.drain(index);
        }
    }

    pub(crate) fn command(&mut self, index: usize, command: Command) {
        self.give(index, Event::Command(command));
    }

    pub(crate) fn switchover(&mut self, index: usize, ticket: u64, to: Option<&str>) {
        let to = to.map(str::to_owned);
        self.command(index, Command::Switchover { ticket: Ticket(ticket), group: GroupIndex(0), to });
    }

    /// Those who hold the first group.
    pub(crate) fn holders(&self) -> Vec<usize> {
        self.holders_of(0)
    }

    pub(crate) fn holders_of(&self, group: usize) -> Vec<usize> {
        (0..self.hosts.len()).filter(|&index| self.hosts[index].vips.contains(&VipIndex(group))).collect()
    }

    pub(crate) fn role(&self, index: usize) -> Option<RoleName> {
        self.hosts[index].node.as_ref().map(|node| node.snapshot().groups[0].role)
    }

    pub(crate) fn reason(&self, index: usize) -> String {
        self.hosts[index]
            .node
            .as_ref()
            .map_or_else(String::new, |node| node.snapshot().groups[0].reason.clone())
    }

    pub(crate) fn say(&mut self, text: String) {
        self.log.push(format!("{} {text}", self.now));
    }

    fn push(&mut self, after: Duration, thing: Thing) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), thing);
    }

    /// Runs until `done` or for `limit`; the time it took, if `done` came true.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begun = self.now;
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                return None;
            }
        }
        Some(self.now.since(begun))
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.pass(end);
    }

    fn pass(&mut self, to: Timestamp) {
        let span = to.since(self.now);
        if span.is_zero() {
            return;
        }
        match self.hosts.iter().filter(|host| host.vips.contains(&VipIndex(0))).count() {
            0 => self.nobody += span,
            1 => {}
            _ => self.two_holders += span,
        }
        for group in 0..self.setup.groups {
            self.watch_contest(group, to);
        }
        self.now = to;
    }

    fn watch_contest(&mut self, group: usize, until: Timestamp) {
        let vip = VipIndex(group);
        if self.hosts.iter().filter(|host| host.vips.contains(&vip)).count() < 2 {
            return;
        }
        let holders: Vec<usize> = self.holders_of(group);
        let contested = holders.iter().any(|&a| holders.iter().any(|&b| a < b && self.see_each_other(a, b)));
        if !contested {
            return;
        }
        let now = self.now;
        let orphan = holders.iter().any(|&holder| !self.hosts[holder].keeper);
        let same = |last: &&mut Contest| {
            last.group == group && last.until == now && last.holders == holders && last.orphan == orphan
        };
        match self.contests.iter_mut().rev().take(self.setup.groups).find(same) {
            Some(last) => last.until = until,
            None => self.contests.push(Contest { group, holders, orphan, from: now, until }),
        }
    }

    fn step(&mut self, end: Timestamp) -> bool {
        let deadline = (0..self.hosts.len())
            .filter(|&index| self.hosts[index].frozen.is_none())
            .filter_map(|index| {
                let deadline = self.hosts[index].node.as_ref()?.next_deadline()?;
                Some((deadline.at + self.hosts[index].late, index))
            })
            .min();
        let queued = self.queue.keys().next().map(|&(at, _)| at);
        let next = match (deadline, queued) {
            (Some((at, _)), Some(queued)) => at.min(queued),
            (Some((at, _)), None) => at,
            (None, Some(queued)) => queued,
            (None, None) => return false,
        };
        if next > end {
            return false;
        }
        self.pass(next);
        // Sockets are drained before the timer is reported.
        if queued == Some(next)
            && let Some((_, thing)) = self.queue.pop_first()
        {
            self.happen(thing);
        } else if let Some((_, index)) = deadline {
            let before = self.hosts[index].node.as_ref().and_then(Node::next_deadline);
            self.hosts[index].timeouts += 1;
            self.give(index, Event::Timeout);
            let after = self.hosts[index].node.as_ref().and_then(Node::next_deadline);
            assert!(
                after.is_none_or(|after| after.at > self.now),
                "every deadline makes progress: {before:?} then {after:?}"
            );
        }
        true
    }

    fn happen(&mut self, thing: Thing) {
        match &thing {
            Thing::Datagram { to, .. } | Thing::Frame { to, .. } | Thing::EchoReply { to, .. }
                if !self.arrives(*to, &thing) =>
            {
                return;
            }
            _ => {}
        }
        match thing {
            Thing::Datagram { to, from, bytes } => {
                if self.heartbeats_blocked || self.wire.blocked.contains(&(from, to)) {
                    return;
                }
                let path = if from < to { from } else { from - 1 };
                self.give(to, Event::Datagram { path: Some(PathIndex(path)), bytes: &bytes });
            }
            Thing::Frame { to, bytes } => {
                self.kernel_answers(to, &bytes);
                if to < self.hosts.len() {
                    self.give(to, Event::Frame { interface: InterfaceIndex(0), bytes: &bytes });
                }
            }
            Thing::EchoReply { to, from } => self.give(to, Event::EchoReply { from }),
            Thing::Apply { host, life, number, plan, desired } => {
                self.apply(host, life, number, plan, desired);
            }
            Thing::Lease { host, life } => self.lease_due(host, life),
            Thing::Watchdog { host, life, freeze } => self.watchdog(host, life, freeze),
            Thing::NewBrain { host, life, resumed } => self.new_brain(host, life, resumed),
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(action) = self.hosts[index].node.as_mut().and_then(Node::poll_action) {
            let host = &mut self.hosts[index];
            host.actions += 1;
            if let Some(twin) = &mut host.twin {
                assert_eq!(twin.poll_action().as_ref(), Some(&action), "{} and its twin differ", name(index));
            }
            self.carry_out(index, action);
        }
        let host = &mut self.hosts[index];
        if let (Some(node), Some(twin)) = (&host.node, &mut host.twin) {
            assert_eq!(twin.poll_action(), None, "{}'s twin does more", name(index));
            assert_eq!(twin.next_deadline(), node.next_deadline(), "{} and its twin differ", name(index));
            assert_eq!(twin.snapshot(), node.snapshot(), "{} and its twin differ", name(index));
        }
        if self.hosts[index].exited && self.hosts[index].node.take().is_some() {
            let open = &self.hosts[index].open;
            assert!(open.is_empty(), "{} ended without an answer to {open:?}", name(index));
        }
    }

    fn carry_out(&mut self, index: usize, action: Action) {
        match action {
            Action::SendDatagram { path: PathIndex(path), bytes } => {
                let to = if path < index { path } else { path + 1 };
                self.transmit(index, to, Thing::Datagram { to, from: index, bytes });
            }
            Action::SendFrame { bytes, .. } => {
                if let Ok((_, Frame::Arp(packet))) = parse_frame(&bytes)
                    && let Some(vip) = vip_index(packet.sender_ip)
                {
                    let now = self.now;
                    let told = self.hosts[index].told.contains(&vip);
                    assert!(told, "{} announces what is not mounted", name(index));
                    self.hosts[index].announced.push(now);
                }
                for to in (0..=self.hosts.len()).filter(|&to| to != index) {
                    if to < self.hosts.len() || self.setup.gateway {
                        self.transmit(index, to, Thing::Frame { to, bytes: bytes.clone() });
                    }
                }
            }
            Action::SendEcho { to } => self.echo(index, to),
            Action::Apply { plan, desired } => self.order(index, plan, desired),
            Action::Beat { renew } => self.beat(index, renew),
            Action::Words(words) => self.hosts[index].words = Some((words.holding, words.resigned)),
            Action::Remember(carry) => self.hosts[index].carry = carry,
            Action::Record(decision) => {
                assert!(!decision.reason.is_empty(), "a decision without a reason");
                self.say(format!(
                    "{}: {:?} -> {:?}: {} {:?}",
                    name(index),
                    decision.from,
                    decision.to,
                    decision.reason,
                    decision.evidence
                ));
                let now = self.now;
                self.hosts[index].decisions.push((now, decision));
            }
            Action::Note(note) => {
                self.say(format!("{}: {}", name(index), note.text));
                self.hosts[index].notes.push(format!("{} {}", self.now, note.text));
            }
            Action::Reply { ticket, outcome } => {
                self.say(format!("{}: answers {ticket:?}: {outcome:?}", name(index)));
                let old = self.hosts[index].replies.insert(ticket, outcome);
                assert!(old.is_none(), "each command is answered once");
                self.hosts[index].open.remove(&ticket);
            }
            Action::Exit => self.hosts[index].exited = true,
        }
    }
}

/// The node as it comes back from a checkpoint.
fn twin(node: &Node, keys: vipdrift_wire::heartbeat::Keys) -> Node {
    let bytes = rmp_serde::to_vec_named(&node.checkpoint()).unwrap();
    let checkpoint: Checkpoint = rmp_serde::from_slice(&bytes).unwrap();
    let twin = Node::restore(checkpoint, keys);
    assert_eq!(rmp_serde::to_vec_named(&twin.checkpoint()).unwrap(), bytes, "written down again");
    twin
}
