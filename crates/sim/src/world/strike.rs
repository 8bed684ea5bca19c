//! Faults come and go.

use std::time::Duration;

use vipdrift_core::{Command, Scope};

use super::brain::ToBrain;
use super::{Standstill, Thing, World};
use crate::invariants::Sight;
use crate::scenario::{Bystanders, Fault, NAMES};

/// Before a daemon that was down is started.
const START: Duration = Duration::from_millis(20);

impl World {
    /// The faults that are there at the moment.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        let planned = self.scenario.faults.iter().zip(&self.active);
        planned.filter(|(_, active)| **active).map(|(planned, _)| &planned.fault)
    }

    fn any(&self, kind: impl Fn(&Fault) -> bool) -> bool {
        self.faults().any(kind)
    }

    /// A fault that keeps the daemon of a node from running is there.
    fn is_down(&self, host: usize) -> bool {
        self.any(|fault| match fault {
            Fault::PowerCut { on }
            | Fault::DaemonKilled { on }
            | Fault::KeeperKilled { on }
            | Fault::Stopped { on } => on.0 == host,
            _ => false,
        })
    }

    pub(super) fn strike(&mut self, index: usize) {
        let scenario = std::rc::Rc::clone(&self.scenario);
        let fault = &scenario.faults[index].fault;
        self.active[index] = true;
        self.say(|| format!("---- {fault:?}"));
        self.see(&Sight::Fault { index, comes: true });
        self.refresh();
        match fault {
            Fault::Switchover { on, group, to } => {
                self.switchover(on.0, *group, to.map(|to| to.0));
            }
            Fault::Drained { on } => {
                self.command(on.0, |ticket| Command::Drain { ticket, scope: Scope::default() });
            }
            Fault::Stopped { on } => self.stop(on.0),
            Fault::OtherFile { on } => self.restart_with(on.0, true),
            Fault::ServiceFails { on, .. } => self.tell_checks(on.0),
            Fault::BrainKilled { on, .. } => self.kill_brain(on.0),
            Fault::BrainFrozen { on } => self.freeze_brain(on.0),
            Fault::DaemonKilled { on } => self.kill_daemon(on.0),
            Fault::KeeperKilled { on } => self.kill_keeper(on.0),
            Fault::KeeperFrozen { on } => self.freeze_keeper(on.0),
            Fault::SlowSideHangs { on } => self.tell_brain(on.0, ToBrain::SlowSide { alive: false }),
            Fault::PowerCut { on } => self.power_off(on.0),
            Fault::Suspended { on } => self.stand_still(on.0, Standstill::Suspended),
            Fault::Paused { on } => self.stand_still(on.0, Standstill::Paused),
            // Nobody has hands on a machine that stands still.
            Fault::VipRemoved { on, .. } | Fault::VipAdded { on, .. } if !self.hosts[on.0].is_awake() => {}
            Fault::VipRemoved { on, group } => {
                for vip in self.vips_of[*group].clone() {
                    self.kernel_drops(on.0, vip);
                }
                self.keeper_hears_news(on.0);
            }
            Fault::VipAdded { on, group } if self.hosts[on.0].present => {
                for vip in self.vips_of[*group].clone() {
                    self.kernel_sets(on.0, vip, None);
                }
                self.keeper_hears_news(on.0);
            }
            Fault::InterfaceGone { on } => {
                let held: Vec<_> = self.hosts[on.0].kernel.vips().collect();
                for vip in held {
                    self.kernel_drops(on.0, vip);
                }
            }
            Fault::Forgery => self.push(Duration::ZERO, Thing::Forge(index)),
            _ => {}
        }
    }

    pub(super) fn repair(&mut self, index: usize) {
        let scenario = std::rc::Rc::clone(&self.scenario);
        let fault = &scenario.faults[index].fault;
        self.active[index] = false;
        self.say(|| format!("---- over: {fault:?}"));
        self.refresh();
        match fault {
            // The same goes on as another fault.
            fault if self.any(|other| other == fault) => {}
            Fault::Drained { on } => {
                self.command(on.0, |ticket| Command::Undrain { ticket, scope: Scope::default() });
            }
            Fault::Stopped { on } | Fault::DaemonKilled { on } | Fault::KeeperKilled { on } => {
                self.revive(on.0);
            }
            Fault::OtherFile { on } => self.restart_with(on.0, false),
            Fault::ServiceFails { on, .. } => self.tell_checks(on.0),
            Fault::BrainFrozen { on } => self.thaw_brain(on.0),
            Fault::KeeperFrozen { on } => self.thaw_keeper(on.0),
            Fault::SlowSideHangs { on } => self.tell_brain(on.0, ToBrain::SlowSide { alive: true }),
            Fault::PowerCut { on } => {
                self.power_on(on.0);
                self.revive(on.0);
            }
            Fault::Suspended { on } | Fault::Paused { on } => {
                let still = self.any(|fault| {
                    matches!(fault, Fault::Suspended { on: other } | Fault::Paused { on: other } if other == on)
                });
                if !still {
                    self.go_on(on.0);
                }
            }
            _ => {}
        }
        self.see(&Sight::Fault { index, comes: false });
    }

    fn revive(&mut self, host: usize) {
        if self.hosts[host].powered && self.hosts[host].keeper.is_none() && !self.is_down(host) {
            let life = self.hosts[host].life;
            self.push(START, Thing::Start { host, life });
        } else if self.hosts[host].keeper.is_some() {
            // Still on its way down.
            self.hosts[host].start_again = true;
        }
    }

    fn restart_with(&mut self, host: usize, other: bool) {
        self.say(|| format!("{}: reads {} file", NAMES[host], if other { "another" } else { "the" }));
        self.hosts[host].other_file = other;
        if self.hosts[host].keeper.is_some() {
            self.hosts[host].start_again = !self.is_down(host);
            self.stop(host);
        }
    }

    /// What is wrong with the network and the kernels follows from the faults that are there.
    fn refresh(&mut self) {
        let scenario = std::rc::Rc::clone(&self.scenario);
        let nodes = self.hosts.len();
        let before: Vec<_> =
            self.hosts.iter().map(|host| (host.present, host.carrier, host.addressless)).collect();
        self.lan.heal();
        for host in &mut self.hosts {
            (host.present, host.carrier, host.cut, host.addressless) = (true, true, false, false);
            (host.kernel.refuses_mounts, host.kernel.refuses_unmounts) = (false, false);
        }
        for (planned, _) in scenario.faults.iter().zip(&self.active).filter(|(_, active)| **active) {
            match &planned.fault {
                Fault::MountsFail { on } => self.hosts[on.0].kernel.refuses_mounts = true,
                Fault::UnmountsFail { on } => self.hosts[on.0].kernel.refuses_unmounts = true,
                Fault::AddressLost { on } => self.hosts[on.0].addressless = true,
                Fault::InterfaceGone { on } => self.hosts[on.0].present = false,
                Fault::CablePulled { on } => self.hosts[on.0].carrier = false,
                Fault::SilentCut { on } => self.hosts[on.0].cut = true,
                Fault::HeartbeatsBlocked => {
                    for (from, to) in pairs(nodes) {
                        self.lan.block(from, to);
                    }
                }
                Fault::HeartbeatsBlockedOneWay { from, to } => self.lan.block(from.0, to.0),
                Fault::EchoesBlocked => self.lan.echoes_blocked = true,
                Fault::Partition { inside, bystanders } => {
                    let is_inside = |station: usize| {
                        if station < nodes {
                            Some(inside.iter().any(|node| node.0 == station))
                        } else {
                            match bystanders {
                                Bystanders::Both => None,
                                Bystanders::Inside => Some(true),
                                Bystanders::Outside => Some(false),
                            }
                        }
                    };
                    for (from, to) in pairs(nodes + 4) {
                        if is_inside(from).zip(is_inside(to)).is_some_and(|(a, b)| a != b) {
                            self.lan.cut(from, to);
                        }
                    }
                }
                Fault::OneWayCut { from, to } => self.lan.cut(from.0, to.0),
                Fault::CrossLinkCut => self.lan.cross_link_cut = true,
                Fault::Loss { per_mille } => self.lan.loss = self.lan.loss.max(*per_mille),
                Fault::Delay { longest } => self.lan.delay = self.lan.delay.max(*longest),
                Fault::Twice { per_mille } => self.lan.twice = self.lan.twice.max(*per_mille),
                Fault::ForeignHolder { group } => self.lan.foreign[*group] = true,
                Fault::Proxy => self.lan.proxy = true,
                _ => {}
            }
        }
        for (index, before) in before.into_iter().enumerate() {
            let host = &self.hosts[index];
            if (host.present, host.carrier, host.addressless) != before {
                self.link_has_changed(index);
            }
        }
        self.change_scene();
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)))
}
