//! A host: its kernel, its keeper, and what may befall them and the brain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vipdrift_core::{
    Carry, Decision, Event, InterfaceIndex, Node, PathIndex, Plan, Start, Ticket, Timestamp, VipIndex,
};
use vipdrift_wire::Mac;

use super::{APPLY, LEASE, Thing, World, config, name};

/// The keeper holds that long over the death or silence of its brain.
const HOLD: Duration = Duration::from_millis(250);
/// A second death within this time is not held over.
const CLOSE: Duration = Duration::from_secs(10);
/// A brain needs that long to start.
const BIRTH: Duration = Duration::from_millis(30);
/// Events kept for a brain that does not run at the moment.
const BACKLOG: usize = 300;

/// What stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frozen {
    /// The brain's process alone; kernel and keeper go on.
    Brain { since: Timestamp },
    /// The whole machine.
    Machine { since: Timestamp },
}

/// An event that waits for a brain that stands still.
#[derive(Debug)]
pub(crate) enum Packet {
    Datagram(Option<PathIndex>, Vec<u8>),
    Frame(InterfaceIndex, Vec<u8>),
    Echo(IpAddr),
    Other(Event<'static>),
}

pub(crate) struct Host {
    pub(crate) ip: Ipv4Addr,
    pub(crate) mac: Mac,
    pub(crate) node: Option<Node>,
    /// The node as it was brought back from a checkpoint; it hears what the node hears.
    pub(super) twin: Option<Node>,
    /// Addresses that the kernel holds and answers for.
    pub(crate) vips: BTreeSet<VipIndex>,
    /// What the brain was last told of them.
    pub(super) told: BTreeSet<VipIndex>,
    /// When the kernel drops each of them.
    lease_ends: BTreeMap<VipIndex, Timestamp>,
    desired: BTreeSet<VipIndex>,
    plan: Plan,
    busy_until: Timestamp,
    /// Orders before this number are void.
    valid_from: u64,
    /// How long the keeper takes for a plan at most.
    pub(crate) apply_takes: Duration,
    /// The kernel takes no address.
    pub(crate) mount_fails: bool,
    /// The kernel gives up no address before its lease ends.
    pub(crate) unmount_fails: bool,
    /// The interface has no address of its own in the VIPs' subnet, though the machine is still reached by another.
    pub(crate) addressless: bool,
    pub(crate) carry: Carry,
    /// The keeper runs.
    pub(crate) keeper: bool,
    /// Grows with every start of the machine or of the daemon as a whole.
    life: u64,
    last_death: Option<Timestamp>,
    /// Reached by the wire.
    pub(crate) plugged: bool,
    /// The kernel answers.
    pub(crate) powered: bool,
    pub(super) frozen: Option<Frozen>,
    freezes: u64,
    pub(super) backlog: Vec<Thing>,
    waiting: Vec<Packet>,
    pub(crate) decisions: Vec<(Timestamp, Decision)>,
    pub(crate) notes: Vec<String>,
    pub(crate) replies: BTreeMap<Ticket, Result<String, String>>,
    /// Commands not yet answered.
    pub(crate) open: BTreeSet<Ticket>,
    pub(crate) words: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) exited: bool,
    pub(crate) announced: Vec<Timestamp>,
    /// How late its timers are.
    pub(crate) late: Duration,
    pub(crate) timeouts: u64,
    pub(crate) actions: u64,
}

impl Host {
    pub(super) fn new(ip: Ipv4Addr, mac: Mac) -> Self {
        Self {
            ip,
            mac,
            node: None,
            twin: None,
            vips: BTreeSet::new(),
            told: BTreeSet::new(),
            lease_ends: BTreeMap::new(),
            desired: BTreeSet::new(),
            plan: Plan(0),
            busy_until: Timestamp::ZERO,
            valid_from: 0,
            apply_takes: APPLY,
            mount_fails: false,
            unmount_fails: false,
            addressless: false,
            carry: Carry::default(),
            keeper: false,
            life: 0,
            last_death: None,
            plugged: true,
            powered: true,
            frozen: None,
            freezes: 0,
            backlog: Vec::new(),
            waiting: Vec::new(),
            decisions: Vec::new(),
            notes: Vec::new(),
            replies: BTreeMap::new(),
            open: BTreeSet::new(),
            words: None,
            exited: false,
            announced: Vec::new(),
            late: Duration::ZERO,
            timeouts: 0,
            actions: 0,
        }
    }

    pub(super) fn machine_frozen(&self) -> bool {
        matches!(self.frozen, Some(Frozen::Machine { .. }))
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Keeps an event that a brain finds when it goes on.
    pub(super) fn keep_for_later(&mut self, event: Event<'_>) {
        let packet = match event {
            Event::Datagram { path, bytes } => Packet::Datagram(path, bytes.to_vec()),
            Event::Frame { interface, bytes } => Packet::Frame(interface, bytes.to_vec()),
            Event::EchoReply { from } => Packet::Echo(from),
            Event::Timeout => return,
            Event::Link { interface, facts } => Packet::Other(Event::Link { interface, facts }),
            Event::Applied { plan, mounted, failed, complete } => {
                Packet::Other(Event::Applied { plan, mounted, failed, complete })
            }
            Event::Drifted { vip, drift } => Packet::Other(Event::Drifted { vip, drift }),
            Event::ClockGap { missing } => Packet::Other(Event::ClockGap { missing }),
            Event::SlowSide { alive } => Packet::Other(Event::SlowSide { alive }),
            Event::KeeperGone => Packet::Other(Event::KeeperGone),
            Event::Command(command) => Packet::Other(Event::Command(command)),
        };
        if self.waiting.len() < BACKLOG || matches!(packet, Packet::Other(_)) {
            self.waiting.push(packet);
        }
    }
}

impl World {
    // ---- The daemon as a whole --------------------------------------------------------------------------------

    /// Keeper and brain start; leftovers of an earlier life are released.
    pub(crate) fn start(&mut self, index: usize, start: Start) {
        let host = &mut self.hosts[index];
        host.life += 1;
        host.keeper = true;
        host.last_death = None;
        host.plan = Plan(0);
        host.vips.clear();
        host.desired.clear();
        host.lease_ends.clear();
        self.begin_brain(index, start);
        self.report_link(index);
    }

    fn begin_brain(&mut self, index: usize, start: Start) {
        let seed = self.now.as_nanos() * 31 + index as u64;
        let node = Node::new(config(&self.setup, index), seed, start, self.now);
        let host = &mut self.hosts[index];
        host.exited = false;
        host.open.clear();
        host.waiting.clear();
        host.told = host.vips.clone();
        host.node = Some(node);
        host.twin = None;
        self.drain(index);
    }

    /// Keeper and brain die; the kernel keeps the VIP until the lease ends.
    pub(crate) fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.keeper = false;
        host.life += 1;
        host.unfreeze_brain();
        self.watch_lease(index);
    }

    /// The keeper dies; its brain says so and ends.
    pub(crate) fn kill_keeper(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.keeper = false;
        host.life += 1;
        host.unfreeze_brain();
        self.give(index, Event::KeeperGone);
        self.watch_lease(index);
    }

    pub(crate) fn power_off(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.keeper = false;
        host.life += 1;
        host.powered = false;
        host.frozen = None;
        host.backlog.clear();
        host.vips.clear();
        host.lease_ends.clear();
    }

    // ---- Brains ------------------------------------------------------------------------------------------------

    /// The brain dies; the keeper sends the word and starts another after `pause`.
    pub(crate) fn restart_brain(&mut self, index: usize, pause: Duration) {
        self.hosts[index].node = None;
        let (holding, _) = self.hosts[index].words.clone().unwrap();
        self.send_word(index, &holding);
        self.run(pause);
        let life = self.hosts[index].life;
        self.new_brain(index, life, true);
    }

    fn send_word(&mut self, index: usize, word: &[u8]) {
        for to in (0..self.hosts.len()).filter(|&to| to != index) {
            let bytes = word.to_vec();
            // Copies of one word, since nobody acknowledges it.
            self.transmit(index, to, Thing::Datagram { to, from: index, bytes: bytes.clone() });
            self.transmit(index, to, Thing::Datagram { to, from: index, bytes });
        }
    }

    /// The brain dies and the keeper does what it does about it.
    pub(crate) fn brain_dies(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let (Some(_), Some((holding, resigned))) = (host.node.take(), host.words.clone()) else { return };
        host.unfreeze_brain();
        let life = host.life;
        let close = host.last_death.replace(now).is_some_and(|last| now.since(last) < CLOSE);
        if close {
            host.vips.clear();
            host.desired.clear();
            host.valid_from = self.serial;
            self.send_word(index, &resigned);
            self.push(Duration::from_secs(1), Thing::NewBrain { host: index, life, resumed: false });
        } else {
            self.send_word(index, &holding);
            self.push(BIRTH, Thing::NewBrain { host: index, life, resumed: true });
        }
    }

    pub(super) fn new_brain(&mut self, index: usize, life: u64, resumed: bool) {
        let host = &self.hosts[index];
        if host.life != life || host.node.is_some() || !host.keeper {
            return;
        }
        if host.machine_frozen() {
            return self.hosts[index].backlog.push(Thing::NewBrain { host: index, life, resumed });
        }
        let carry = host.carry.clone();
        let start = if resumed { Start::Resumed(carry) } else { Start::Fresh { drained: carry.drained } };
        self.hosts[index].plan = if resumed { Plan(self.hosts[index].carry.plan) } else { Plan(0) };
        self.begin_brain(index, start);
        self.report_link(index);
        self.report_applied(index, Vec::new());
    }

    /// The keeper has waited long enough for a sign of its brain.
    pub(super) fn watchdog(&mut self, index: usize, life: u64, freeze: u64) {
        let host = &self.hosts[index];
        if host.life == life && host.freezes == freeze && matches!(host.frozen, Some(Frozen::Brain { .. })) {
            self.say(format!("{}: the keeper kills its silent brain", name(index)));
            self.brain_dies(index);
        }
    }

    // ---- Standing still ----------------------------------------------------------------------------------------

    pub(crate) fn freeze_brain(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.frozen.is_some() || host.node.is_none() {
            return;
        }
        host.frozen = Some(Frozen::Brain { since: self.now });
        host.freezes += 1;
        let (life, freeze) = (host.life, host.freezes);
        self.push(HOLD, Thing::Watchdog { host: index, life, freeze });
    }

    pub(crate) fn freeze_machine(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.powered && host.frozen.is_none() {
            host.frozen = Some(Frozen::Machine { since: self.now });
        }
    }

    /// What stood still goes on, and finds what has come in meanwhile.
    pub(crate) fn thaw(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let Some(frozen) = host.frozen.take() else { return };
        if let Frozen::Machine { since } = frozen {
            // The kernel's timers stood still as well.
            for at in host.lease_ends.values_mut() {
                *at = *at + now.since(since);
            }
            host.busy_until = host.busy_until.max(now);
        }
        for thing in std::mem::take(&mut host.backlog) {
            self.happen(thing);
        }
        for packet in std::mem::take(&mut self.hosts[index].waiting) {
            match packet {
                Packet::Datagram(path, bytes) => self.give(index, Event::Datagram { path, bytes: &bytes }),
                Packet::Frame(interface, bytes) => {
                    self.give(index, Event::Frame { interface, bytes: &bytes });
                }
                Packet::Echo(from) => self.give(index, Event::EchoReply { from }),
                Packet::Other(event) => self.give(index, event),
            }
        }
    }

    // ---- Plans and leases --------------------------------------------------------------------------------------

    /// The brain asks for a set of addresses; the keeper takes one plan after the other.
    pub(super) fn order(&mut self, index: usize, plan: Plan, desired: BTreeSet<VipIndex>) {
        let takes = APPLY + self.random.upto(self.hosts[index].apply_takes.saturating_sub(APPLY));
        let host = &mut self.hosts[index];
        if !host.keeper {
            return;
        }
        host.busy_until = host.busy_until.max(self.now) + takes;
        let (after, life) = (host.busy_until.since(self.now), host.life);
        self.push(after, Thing::Apply { host: index, life, number: self.serial, plan, desired });
    }

    pub(super) fn apply(
        &mut self,
        index: usize,
        life: u64,
        number: u64,
        plan: Plan,
        desired: BTreeSet<VipIndex>,
    ) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.life != life || number < host.valid_from || plan < host.plan {
            return;
        }
        if host.machine_frozen() {
            return host.backlog.push(Thing::Apply { host: index, life, number, plan, desired });
        }
        host.plan = plan;
        let mut failed = Vec::new();
        for vip in host.vips.clone() {
            if desired.contains(&vip) {
                continue;
            }
            if host.unmount_fails {
                failed.push((vip, "device or resource busy".to_owned()));
            } else {
                host.vips.remove(&vip);
            }
        }
        for &vip in &desired {
            if host.mount_fails && !host.vips.contains(&vip) {
                failed.push((vip, "no buffer space available".to_owned()));
            } else {
                host.vips.insert(vip);
            }
        }
        host.desired = desired;
        host.renew(now + LEASE);
        self.watch_lease(index);
        self.report_applied(index, failed);
    }

    pub(super) fn report_applied(&mut self, index: usize, failed: Vec<(VipIndex, String)>) {
        let host = &self.hosts[index];
        let (plan, mounted) = (host.plan, host.vips.iter().copied().collect());
        self.give(index, Event::Applied { plan, mounted, failed, complete: true });
    }

    pub(super) fn beat(&mut self, index: usize, renew: bool) {
        let ends = self.now + LEASE;
        let host = &mut self.hosts[index];
        if renew && host.keeper {
            host.renew(ends);
        }
    }

    fn watch_lease(&mut self, index: usize) {
        let host = &self.hosts[index];
        let next = host.vips.iter().filter_map(|vip| host.lease_ends.get(vip)).min();
        if let Some(&at) = next {
            let life = host.life;
            self.push(at.since(self.now), Thing::Lease { host: index, life });
        }
    }

    pub(super) fn lease_due(&mut self, index: usize, life: u64) {
        let now = self.now;
        let host = &mut self.hosts[index];
        if host.life != life || host.vips.is_empty() {
            return;
        }
        if host.machine_frozen() {
            return host.backlog.push(Thing::Lease { host: index, life });
        }
        let before = host.vips.len();
        host.vips.retain(|vip| host.lease_ends.get(vip).is_some_and(|&at| at > now));
        if host.vips.len() < before {
            self.say(format!("{}: a lease has ended", name(index)));
            if self.hosts[index].keeper {
                self.report_applied(index, Vec::new());
            }
        }
        self.watch_lease(index);
    }
}

impl Host {
    /// Wanted addresses that are there live on until then.
    fn renew(&mut self, until: Timestamp) {
        for &vip in self.desired.intersection(&self.vips) {
            self.lease_ends.insert(vip, until);
        }
    }

    fn unfreeze_brain(&mut self) {
        if matches!(self.frozen, Some(Frozen::Brain { .. })) {
            self.frozen = None;
        }
        self.waiting.clear();
    }
}
