//! Faults drawn from a seed before a run begins, and how they come and go.

use std::time::Duration;

use vipdrift_core::{Command, Failback, GroupIndex, OccupiedPolicy, Start, Switchover, Ticket, VipIndex};

use super::random::Random;
use super::{Setup, World, name};

/// How bad it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Rows of the table of bounds, several at once: nobody ever shares a VIP.
    Fair,
    /// Machines stand still and the LAN falls apart: shared for a moment when things come back.
    Rough,
    /// The wire loses, delays, doubles and reorders packets on top.
    Storm,
}

/// Something that goes wrong, or that an operator wants. Numbers are hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Switchover { on: usize, group: usize, to: Option<usize> },
    Drained(usize),
    Restarted(usize),
    BrainDies(usize),
    BrainFrozen(usize),
    DaemonKilled(usize),
    KeeperKilled(usize),
    PowerCut(usize),
    CablePulled(usize),
    HeartbeatsBlocked,
    HeartbeatsBlockedOneWay(usize, usize),
    ForeignHolder { group: usize },
    MountsFail(usize),
    UnmountsFail(usize),
    AddressLost(usize),
    SlowKeeper(usize),
    Jitter(Duration),
    MachineFrozen(usize),
    SilentCut(usize),
    Partition { first: Vec<usize> },
    OneWayCut(usize, usize),
    Loss { per_mille: u64 },
    Delay(Duration),
    Twice { per_mille: u64 },
}

/// A fault with its time.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// A whole run, drawn from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) weather: Weather,
    pub(crate) setup: Setup,
    pub(crate) faults: Vec<Planned>,
    /// When the last fault is over.
    pub(crate) over: Duration,
}

impl Scenario {
    pub(crate) fn draw(seed: u64, weather: Weather) -> Self {
        let mut random = Random::new(seed);
        let nodes = 2 + random.below(3);
        let setup = Setup {
            nodes,
            groups: 1 + random.below(2),
            // Mostly the default: a run at a tenth of it costs ten times as much.
            heartbeat: Duration::from_millis(if random.chance(60) { 10 } else { 100 }),
            failback: random.pick(&[
                Failback::Never,
                Failback::Never,
                Failback::After(Duration::from_millis(700)),
            ]),
            switchover: random.pick(&[Switchover::Strict, Switchover::Hitless]),
            occupied: random.pick(&[OccupiedPolicy::Wait, OccupiedPolicy::Claim]),
            quarrel: false,
            gateway: random.chance(800),
        };
        let count = 2 + random.below(6);
        let mut faults: Vec<Planned> = (0..count)
            .map(|_| Planned {
                at: random.millis(0, 4000),
                lasts: {
                    let longest = random.pick(&[20, 300, 3000]);
                    random.millis(1, longest)
                },
                fault: draw(&mut random, weather, &setup),
            })
            .collect();
        faults.sort_by_key(|planned| planned.at);
        let over = faults.iter().map(|planned| planned.at + planned.lasts).max().unwrap_or_default();
        Self { seed, weather, setup, faults, over }
    }
}

fn draw(random: &mut Random, weather: Weather, setup: &Setup) -> Fault {
    let host = random.below(setup.nodes);
    let other = (host + 1 + random.below(setup.nodes - 1)) % setup.nodes;
    let group = random.below(setup.groups);
    let kinds = match weather {
        Weather::Fair => 17,
        Weather::Rough => 21,
        Weather::Storm => 24,
    };
    match random.below(kinds) {
        0 | 1 => {
            let to = if random.chance(700) { Some(other) } else { None };
            Fault::Switchover { on: host, group, to }
        }
        2 => Fault::Drained(host),
        3 => Fault::Restarted(host),
        4 => Fault::BrainDies(host),
        5 => Fault::BrainFrozen(host),
        6 => Fault::DaemonKilled(host),
        7 => Fault::KeeperKilled(host),
        8 => Fault::PowerCut(host),
        9 => Fault::CablePulled(host),
        10 => Fault::HeartbeatsBlocked,
        11 => Fault::HeartbeatsBlockedOneWay(host, other),
        12 => Fault::ForeignHolder { group },
        13 => Fault::MountsFail(host),
        14 => Fault::UnmountsFail(host),
        15 => Fault::AddressLost(host),
        16 => {
            if random.chance(500) {
                Fault::SlowKeeper(host)
            } else {
                Fault::Jitter(random.upto(Duration::from_millis(2).min(setup.heartbeat / 20)))
            }
        }
        17 => Fault::MachineFrozen(host),
        18 => Fault::SilentCut(host),
        19 => {
            let size = 1 + random.below(setup.nodes - 1);
            Fault::Partition { first: (0..size).map(|i| (host + i) % setup.nodes).collect() }
        }
        20 => Fault::OneWayCut(host, other),
        21 => Fault::Loss { per_mille: 10 + random.next() % 290 },
        22 => Fault::Delay(random.upto(setup.heartbeat * 2)),
        _ => Fault::Twice { per_mille: 500 },
    }
}

impl World {
    /// A fault comes.
    pub(crate) fn strike(&mut self, fault: &Fault) {
        self.say(format!("---- {fault:?}"));
        match *fault {
            Fault::Switchover { on, group, to } => {
                let ticket = self.next_ticket();
                let to = to.map(name);
                self.command(on, Command::Switchover { ticket, group: GroupIndex(group), to });
            }
            Fault::Drained(host) => {
                let ticket = self.next_ticket();
                self.command(host, Command::Drain { ticket });
            }
            Fault::Restarted(host) => self.command(host, Command::Shutdown),
            Fault::BrainDies(host) => self.brain_dies(host),
            Fault::BrainFrozen(host) => self.freeze_brain(host),
            Fault::DaemonKilled(host) => self.kill(host),
            Fault::KeeperKilled(host) => self.kill_keeper(host),
            Fault::PowerCut(host) => self.power_off(host),
            Fault::CablePulled(host) => {
                self.hosts[host].plugged = false;
                self.report_link(host);
            }
            Fault::HeartbeatsBlocked => self.heartbeats_blocked = true,
            Fault::HeartbeatsBlockedOneWay(from, to) => {
                self.wire.blocked.insert((from, to));
            }
            Fault::ForeignHolder { group } => {
                self.gateway_vips.insert(VipIndex(group));
            }
            Fault::MountsFail(host) => self.hosts[host].mount_fails = true,
            Fault::UnmountsFail(host) => self.hosts[host].unmount_fails = true,
            Fault::AddressLost(host) => {
                self.hosts[host].addressless = true;
                self.report_link(host);
            }
            Fault::SlowKeeper(host) => self.hosts[host].apply_takes = Duration::from_millis(200),
            Fault::Jitter(delay) | Fault::Delay(delay) => self.wire.delay = delay,
            Fault::MachineFrozen(host) => self.freeze_machine(host),
            Fault::SilentCut(host) => self.hosts[host].plugged = false,
            Fault::Partition { ref first } => {
                for a in 0..self.hosts.len() {
                    for b in 0..self.hosts.len() {
                        if first.contains(&a) != first.contains(&b) {
                            self.wire.cuts.insert((a, b));
                        }
                    }
                }
            }
            Fault::OneWayCut(from, to) => {
                self.wire.cuts.insert((from, to));
            }
            Fault::Loss { per_mille } => self.wire.loss = per_mille,
            Fault::Twice { per_mille } => self.wire.twice = per_mille,
        }
    }

    /// A fault goes.
    pub(crate) fn repair(&mut self, fault: &Fault) {
        self.say(format!("---- over: {fault:?}"));
        match *fault {
            Fault::Switchover { .. } | Fault::BrainDies(_) => {}
            Fault::Drained(host) => {
                let ticket = self.next_ticket();
                self.command(host, Command::Undrain { ticket });
            }
            Fault::Restarted(host) | Fault::DaemonKilled(host) | Fault::KeeperKilled(host) => {
                self.start_again(host);
            }
            Fault::PowerCut(host) => {
                self.hosts[host].powered = true;
                self.start_again(host);
            }
            Fault::BrainFrozen(host) | Fault::MachineFrozen(host) => self.thaw(host),
            Fault::CablePulled(host) | Fault::SilentCut(host) => {
                self.hosts[host].plugged = true;
                self.report_link(host);
            }
            Fault::HeartbeatsBlocked => self.heartbeats_blocked = false,
            Fault::HeartbeatsBlockedOneWay(from, to) => {
                self.wire.blocked.remove(&(from, to));
            }
            Fault::ForeignHolder { group } => {
                self.gateway_vips.remove(&VipIndex(group));
            }
            Fault::MountsFail(host) => self.hosts[host].mount_fails = false,
            Fault::UnmountsFail(host) => self.hosts[host].unmount_fails = false,
            Fault::AddressLost(host) => {
                self.hosts[host].addressless = false;
                self.report_link(host);
            }
            Fault::SlowKeeper(host) => self.hosts[host].apply_takes = Duration::ZERO,
            Fault::Jitter(_) | Fault::Delay(_) => self.wire.delay = Duration::ZERO,
            Fault::Partition { .. } | Fault::OneWayCut(..) => self.wire.cuts.clear(),
            Fault::Loss { .. } => self.wire.loss = 0,
            Fault::Twice { .. } => self.wire.twice = 0,
        }
    }

    /// The machine's services come up, unless they are.
    pub(crate) fn start_again(&mut self, host: usize) {
        let state = &self.hosts[host];
        if state.powered && !state.is_frozen() && state.node.is_none() {
            let drained = state.carry.drained;
            self.start(host, Start::Fresh { drained });
        }
    }

    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}
