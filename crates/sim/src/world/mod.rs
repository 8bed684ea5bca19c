//! The world: machines with kernels, keepers and brains on a LAN, a client, and one queue of what happens next. It jumps
//! from one event to the next; nothing ticks.

mod brain;
mod client;
mod clock;
mod forger;
mod host;
mod keeper;
mod kernel;
mod lan;
mod queue;
mod strike;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use vipdrift_core::{Command, GroupIndex, Node, Ticket, VipIndex};
use vipdrift_wire::heartbeat::Keys;

use crate::invariants::{Invariants, Sight, Violation};
use crate::random::Random;
use crate::scenario::{NAMES, Scenario, Setup};

pub(crate) use client::Client;
pub(crate) use host::{Host, Standstill};
#[cfg(test)]
pub(crate) use keeper::Left;
pub(crate) use kernel::SLACK;
use lan::Lan;
use queue::Queue;

/// The last state changes that are kept for a report.
const LOG: usize = 400;

/// What is to happen.
#[derive(Debug, Clone)]
pub(crate) enum Thing {
    Datagram {
        lan: usize,
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// Stations past the nodes are the gateway, the client, the foreign machine and the switch.
    Frame {
        to: usize,
        bytes: Rc<[u8]>,
    },
    EchoRequest {
        lan: usize,
        from: usize,
        to: usize,
    },
    EchoReply {
        lan: usize,
        from: usize,
        to: usize,
    },
    /// A planned fault comes.
    Strike(usize),
    /// A planned fault goes.
    Repair(usize),
    /// The daemon's services come up.
    Start {
        host: usize,
        life: u64,
    },
    /// The keeper has something to do.
    KeeperTimer {
        host: usize,
        life: u64,
    },
    /// The kernel has done what the keeper asked for.
    KeeperDone {
        host: usize,
        life: u64,
    },
    /// The brain's process is reaped.
    BrainGone {
        host: usize,
        life: u64,
        number: u64,
    },
    /// A new brain's process is ready.
    BrainBorn {
        host: usize,
        life: u64,
        number: u64,
    },
    /// The results of its checks reach a brain that has just begun.
    Results {
        host: usize,
    },
    /// The program has ended that runs before a mount.
    Prepared {
        host: usize,
        group: usize,
        number: u64,
    },
    /// A brain that was kept waiting goes on.
    StallOver {
        host: usize,
        stall: u64,
    },
    /// The keeper has been silent for too long.
    KeeperMissed {
        host: usize,
        life: u64,
        freeze: u64,
    },
    /// The kernel looks whether its addresses have come to their end.
    LeaseLook {
        host: usize,
    },
    /// The client asks for VIPs that do not serve it.
    ClientAsks,
    /// The attacker sends something.
    Forge(usize),
}

/// Numbers of one run, for tables and for the speed of the simulator.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) datagrams: u64,
    /// Packets lost by chance.
    pub(crate) lost: u64,
}

pub(crate) struct World {
    /// Since the world began.
    pub(crate) now: Duration,
    pub(crate) setup: Setup,
    pub(crate) scenario: Rc<Scenario>,
    /// Which planned faults are there at the moment.
    pub(crate) active: Vec<bool>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) lan: Lan,
    pub(crate) client: Client,
    /// Group of each VIP, and its address.
    pub(crate) vips: Vec<(usize, ipnet::IpNet)>,
    pub(crate) vips_of: Vec<Vec<VipIndex>>,
    pub(crate) keys: Keys,
    pub(crate) random: Random,
    pub(crate) invariants: Option<Invariants>,
    pub(crate) violation: Option<Violation>,
    pub(crate) log: VecDeque<String>,
    /// The log is kept whole.
    pub(crate) verbose: bool,
    pub(crate) tally: Tally,
    /// Of everything that has happened, in order.
    pub(crate) hash: u64,
    pub(crate) replies: BTreeMap<Ticket, Result<String, String>>,
    /// What a known fault is put into.
    #[cfg(feature = "sabotage")]
    pub(crate) sabotage: Option<vipdrift_core::Sabotage>,
    forger: Option<forger::Forger>,
    queue: Queue,
    tickets: u64,
    /// Who holds what, or who reaches whom, may have changed.
    scene: bool,
}

impl World {
    /// Everything off; machines start at slightly different moments.
    pub(crate) fn new(scenario: &Rc<Scenario>, invariants: Option<Invariants>) -> Self {
        let setup = scenario.setup.clone();
        let mut random = Random::new(scenario.seed, 2);
        let vips = setup.vips();
        let vips_of = (0..setup.groups.len())
            .map(|group| (0..vips.len()).filter(|&vip| vips[vip].0 == group).map(VipIndex).collect())
            .collect();
        let hosts = (0..setup.nodes).map(|index| Host::new(index, &setup, &mut random)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            active: vec![false; scenario.faults.len()],
            hosts,
            lan: Lan::new(&setup),
            client: Client::new(vips.len()),
            vips,
            vips_of,
            keys: Keys::new("sim", b"0123456789abcdef", None),
            random,
            invariants,
            violation: None,
            log: VecDeque::new(),
            verbose: false,
            tally: Tally::default(),
            hash: 0,
            replies: BTreeMap::new(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
            forger: scenario
                .faults
                .iter()
                .any(|planned| matches!(planned.fault, crate::scenario::Fault::Forgery))
                .then(|| forger::Forger::new(scenario.seed)),
            queue: Queue::default(),
            tickets: 0,
            scene: true,
            scenario: Rc::clone(scenario),
            setup,
        };
        for (index, planned) in scenario.faults.iter().enumerate() {
            world.queue.push(planned.at, Thing::Strike(index));
            world.queue.push(planned.over(), Thing::Repair(index));
        }
        world
    }

    /// Starts every daemon within `within`.
    pub(crate) fn start_all(&mut self, within: Duration) {
        for host in 0..self.hosts.len() {
            let after = self.random.upto(within);
            let life = self.hosts[host].life;
            self.push(after, Thing::Start { host, life });
        }
        self.push(Duration::from_secs(2), Thing::ClientAsks);
    }

    pub(crate) fn push(&mut self, after: Duration, thing: Thing) {
        self.queue.push(self.now + after, thing);
    }

    /// Runs for a while, or until an invariant is broken.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.violation.is_none() && self.step(end) {}
        if self.violation.is_none() {
            self.now = end;
        }
    }

    /// Runs until `done` or for `limit`; the time it took, if `done` came true.
    #[cfg(test)]
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let begun = self.now;
        let end = self.now + limit;
        while !done(self) {
            if self.violation.is_some() || !self.step(end) {
                return None;
            }
        }
        Some(self.now - begun)
    }

    /// One event; false when nothing is left to happen before `end`.
    fn step(&mut self, end: Duration) -> bool {
        let mut deadline: Option<(Duration, usize)> = None;
        for (index, host) in self.hosts.iter().enumerate() {
            if let Some(at) = host.brain.as_ref().and_then(|brain| brain.wake)
                && deadline.is_none_or(|(first, _)| at < first)
            {
                deadline = Some((at, index));
            }
        }
        let queued = self.queue.next();
        // Sockets are drained before the timer is reported.
        let (at, timer) = match (queued, deadline) {
            (Some(queued), Some((at, index))) if at < queued => (at, Some(index)),
            (Some(queued), _) => (queued, None),
            (None, Some((at, index))) => (at, Some(index)),
            (None, None) => return false,
        };
        if at > end {
            return false;
        }
        self.now = self.now.max(at);
        self.tally.events += 1;
        match timer {
            Some(host) => self.time_out(host),
            None => {
                if let Some(thing) = self.queue.pop() {
                    self.happen(thing);
                }
            }
        }
        if std::mem::take(&mut self.scene) {
            self.look();
        }
        true
    }

    pub(crate) fn happen(&mut self, thing: Thing) {
        match thing {
            Thing::Datagram { lan, from, to, bytes } => self.datagram_arrives(lan, from, to, bytes),
            Thing::Frame { to, bytes } => self.frame_arrives(to, bytes),
            Thing::EchoRequest { lan, from, to } => self.echo_arrives(lan, from, to),
            Thing::EchoReply { lan, from, to } => self.echo_reply_arrives(lan, from, to),
            Thing::Strike(index) => self.strike(index),
            Thing::Repair(index) => self.repair(index),
            Thing::Start { host, life } => self.start(host, life),
            Thing::Results { host } => self.tell_checks(host),
            Thing::KeeperTimer { host, life } => self.keeper_timer(host, life),
            Thing::KeeperDone { host, life } => self.keeper_done(host, life),
            Thing::BrainGone { host, life, number } => self.brain_gone(host, life, number),
            Thing::BrainBorn { host, life, number } => self.brain_born(host, life, number),
            Thing::Prepared { host, group, number } => {
                self.tell_brain(host, brain::ToBrain::Prepared { group, number });
            }
            Thing::StallOver { host, stall } => self.stall_over(host, stall),
            Thing::KeeperMissed { host, life, freeze } => self.keeper_missed(host, life, freeze),
            Thing::LeaseLook { host } => self.lease_look(host),
            Thing::ClientAsks => self.client_asks(),
            Thing::Forge(index) => self.forge(index),
        }
    }

    /// Who holds what, or who reaches whom, may have changed.
    pub(crate) fn change_scene(&mut self) {
        self.scene = true;
    }

    fn look(&mut self) {
        self.look_as_client();
        self.see(&Sight::Scene);
    }

    /// Shows something to the invariants.
    pub(crate) fn see(&mut self, sight: &Sight<'_>) {
        let Some(mut invariants) = self.invariants.take() else { return };
        if let Some(violation) = invariants.see(self, sight)
            && self.violation.is_none()
        {
            self.say(|| format!("VIOLATION of {}: {}", violation.invariant, violation.text));
            self.violation = Some(violation);
        }
        self.invariants = Some(invariants);
    }

    /// Mixes something that happened into the hash of the run.
    pub(crate) fn mix(&mut self, kind: u64, host: usize, detail: u64) {
        let now = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        for value in [now, kind << 8 | host as u64, detail] {
            self.hash = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    pub(crate) fn say(&mut self, text: impl FnOnce() -> String) {
        if !self.verbose && self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} {}", crate::scenario::span::short(self.now), text()));
    }

    // ---- What can be seen of it -------------------------------------------------------------------------------

    /// Hosts whose kernels have a VIP, in or out of reach.
    pub(crate) fn holders(&self, vip: VipIndex) -> impl Iterator<Item = usize> + '_ {
        self.hosts.iter().enumerate().filter(move |(_, host)| host.kernel.has(vip)).map(|(index, _)| index)
    }

    /// A command for a node's brain; its ticket, if there is a brain to take it.
    pub(crate) fn command(&mut self, host: usize, command: impl FnOnce(Ticket) -> Command) -> Option<Ticket> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.hosts[host].brain.as_ref()?;
        self.tell_brain(host, brain::ToBrain::Command(command(ticket)));
        Some(ticket)
    }

    /// Asks a node for a planned switchover.
    pub(crate) fn switchover(&mut self, host: usize, group: usize, to: Option<usize>) -> Option<Ticket> {
        let to = to.map(|to| NAMES[to].to_owned());
        self.command(host, |ticket| Command::Switchover { ticket, group: GroupIndex(group), to })
    }

    /// The core of a node, while it has one.
    pub(crate) fn node(&self, host: usize) -> Option<&Node> {
        self.hosts[host].brain.as_ref().map(|brain| &brain.node)
    }
}
