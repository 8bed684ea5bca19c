//! What a keeper does to its kernel.

use std::collections::BTreeSet;
use std::time::Duration;

use vipdrift_core::keeper::{Permission, Report, Step};
use vipdrift_core::{Drift, Plan, VipIndex};

use super::{RETRY, STEP};
use crate::invariants::Sight;
use crate::scenario::{Fault, NodeNumber};
use crate::world::brain::ToBrain;
use crate::world::{Thing, World};

impl World {
    /// Addresses or links have changed in a way that was not the keeper's doing.
    pub(in crate::world) fn keeper_hears_news(&mut self, host: usize) {
        let after = Duration::from_micros(100) + self.random.upto(Duration::from_millis(5));
        let look = self.now + after;
        let Some(keeper) = self.keeper(host) else { return };
        keeper.look.get_or_insert(keeper.paused.map_or(look, |paused| paused.max(look)));
        self.set_timer(host);
    }

    pub(in crate::world) fn link_has_changed(&mut self, host: usize) {
        self.change_scene();
        if let Some(keeper) = self.keeper(host) {
            keeper.link_changed = true;
        }
        self.keeper_hears_news(host);
    }

    pub(super) fn work(&mut self, host: usize) {
        let (now, local) = (self.now, self.local(host));
        #[cfg(feature = "sabotage")]
        let sabotage = self.sabotage;
        let Some(keeper) = self.keeper(host) else { return };
        if keeper.busy.is_some() || keeper.frozen.is_some() {
            return;
        }
        if keeper.paused.is_some_and(|paused| now >= paused) {
            keeper.paused = None;
            if let Permission::NotBefore(at) = keeper.budget.ask(local) {
                keeper.paused = Some(now + at.since(local));
            }
        }
        if keeper.look.is_some_and(|look| now >= look) {
            self.survey(host);
        }
        let Some(keeper) = self.keeper(host) else { return };
        if keeper.retry.is_some_and(|retry| now >= retry) {
            keeper.retry = None;
            keeper.mounts.retry();
        }
        #[cfg(feature = "sabotage")]
        if sabotage == Some(vipdrift_core::Sabotage::RenewUnasked) {
            keeper.lease.beat(true, keeper.lease.epoch(), local);
        }
        if keeper.lease.take_due(local) {
            self.renew(host);
        }
        let Some(keeper) = self.keeper(host) else { return };
        if keeper.paused.is_none() {
            let step = keeper.next_step();
            if step != Step::Rest {
                return self.begin_step(host, step);
            }
        }
        self.report(host);
    }

    pub(super) fn begin_step(&mut self, host: usize, step: Step) {
        let slow = self.faults().find_map(|fault| match fault {
            Fault::KeeperSlow { on: NodeNumber(on), longest } if *on == host => Some(*longest),
            _ => None,
        });
        let takes = STEP + self.random.upto(slow.unwrap_or(STEP));
        let (now, life) = (self.now, self.hosts[host].life);
        let Some(keeper) = self.keeper(host) else { return };
        keeper.doing = Some(step);
        keeper.busy = Some(now + takes);
        self.push(takes, Thing::KeeperDone { host, life });
    }

    pub(in crate::world) fn keeper_done(&mut self, host: usize, life: u64) {
        // The kernel does its part even when the keeper stands still; a machine that stands still does nothing.
        if self.hosts[host].life != life
            || self.keeps_for_later(host, || Thing::KeeperDone { host, life }, false)
        {
            return;
        }
        let now = self.now;
        let Some(keeper) = self.keeper(host).filter(|keeper| keeper.busy.is_some_and(|busy| busy <= now))
        else {
            return;
        };
        keeper.busy = None;
        let step = keeper.doing.take();
        let lifetime = keeper.lease.lifetime();
        match step {
            Some(Step::Unmount(vips)) => {
                for vip in vips {
                    let result = self.unmount(host, vip);
                    if let Some(keeper) = self.keeper(host) {
                        keeper.mounts.unmounted(vip, result);
                    }
                }
            }
            Some(Step::Mount(vips)) => {
                for vip in vips {
                    let refused = if self.hosts[host].kernel.refuses_mounts {
                        Some("no buffer space available")
                    } else if self.hosts[host].present {
                        None
                    } else {
                        Some("no such device")
                    };
                    let result = refused.map_or(Ok(()), |why| Err(why.to_owned()));
                    if result.is_ok() {
                        self.kernel_sets(host, VipIndex(vip), lifetime);
                        self.see(&Sight::Mounted { host, vip: VipIndex(vip) });
                    }
                    if let Some(keeper) = self.keeper(host) {
                        keeper.mounts.mounted(vip, result);
                    }
                }
            }
            Some(Step::Rest) | None => {}
        }
        self.report(host);
        if self.keeper(host).is_some_and(|keeper| keeper.frozen.is_some()) {
            return;
        }
        self.empty_inbox(host);
        self.rest_of_turn(host);
    }

    pub(super) fn empty_inbox(&mut self, host: usize) {
        while let Some(message) = self.keeper(host).and_then(|keeper| {
            if keeper.busy.is_some() || keeper.frozen.is_some() { None } else { keeper.inbox.pop_front() }
        }) {
            self.keeper_hears(host, message);
        }
    }

    pub(super) fn unmount(&mut self, host: usize, vip: usize) -> Result<(), String> {
        if self.hosts[host].kernel.refuses_unmounts && self.hosts[host].kernel.has(VipIndex(vip)) {
            return Err("device or resource busy".to_owned());
        }
        self.kernel_drops(host, VipIndex(vip));
        Ok(())
    }

    pub(super) fn renew(&mut self, host: usize) {
        let Some(keeper) = self.keeper(host) else { return };
        let (due, lifetime) = (keeper.mounts.to_renew(), keeper.lease.lifetime());
        self.see(&Sight::Renewed { host });
        if self.hosts[host].kernel.refuses_mounts {
            return self.keeper_hears_news(host);
        }
        for vip in due {
            if self.hosts[host].kernel.has(VipIndex(vip)) {
                self.kernel_sets(host, VipIndex(vip), lifetime);
            }
        }
    }

    /// Tells the brain what is mounted, if it has not been told.
    pub(super) fn report(&mut self, host: usize) {
        let Some(keeper) = self.keeper(host) else { return };
        let now_failed = keeper.mounts.has_failed();
        let goes_on = keeper.paused.is_none() && keeper.next_step() != Step::Rest;
        let news = keeper.mounts.news(goes_on);
        let now = self.now;
        let Some(keeper) = self.keeper(host) else { return };
        if now_failed {
            keeper.retry.get_or_insert(now + RETRY);
        } else {
            keeper.retry = None;
        }
        if let Some(Report { plan, mounted, failed, complete }) = news {
            self.tell_brain(
                host,
                ToBrain::Applied {
                    plan: Plan(plan),
                    mounted: mounted.into_iter().map(VipIndex).collect(),
                    failed: failed.into_iter().map(|(vip, why)| (VipIndex(vip), why)).collect(),
                    complete,
                },
            );
        }
    }

    /// Looks what the kernel has, and sets right what somebody else has changed.
    pub(super) fn survey(&mut self, host: usize) {
        let local = self.local(host);
        let real: BTreeSet<usize> = self.hosts[host].kernel.vips().map(|vip| vip.0).collect();
        let running = self.hosts[host].present && self.hosts[host].carrier;
        let now = self.now;
        let Some(keeper) = self.keeper(host) else { return };
        keeper.look = None;
        let changed = std::mem::take(&mut keeper.link_changed);
        if changed {
            keeper.mounts.retry();
        }
        let differences = keeper.mounts.observe(real);
        let come: Vec<usize> =
            differences.come.iter().filter(|vip| !keeper.mounts.wants(**vip)).copied().collect();
        let gone: Vec<usize> =
            differences.gone.iter().filter(|vip| keeper.mounts.wants(**vip)).copied().collect();
        let mut messages = Vec::new();
        if !come.is_empty() || !gone.is_empty() {
            let allowed = keeper.lease.heals(local);
            let (healed, lost): (Vec<usize>, Vec<usize>) = gone.into_iter().partition(|_| allowed && running);
            keeper.mounts.lose(&lost);
            if let Permission::NotBefore(at) = keeper.budget.ask(local) {
                keeper.paused = Some(now + at.since(local));
            }
            messages.extend(come.iter().map(|&vip| (vip, Drift::Added)));
            messages.extend(healed.iter().map(|&vip| (vip, Drift::Removed)));
        }
        if changed {
            let facts = self.link_facts(host);
            self.tell_brain(host, ToBrain::Link(facts));
        }
        for (vip, drift) in messages {
            self.tell_brain(host, ToBrain::Drifted { vip: VipIndex(vip), drift });
        }
    }

    /// Takes off everything at once; false if something is left.
    pub(super) fn release_all(&mut self, host: usize) -> bool {
        let held: Vec<VipIndex> = self.hosts[host].kernel.vips().collect();
        if let Some(keeper) = self.keeper(host) {
            keeper.mounts.order(0, BTreeSet::new());
            keeper.doing = None;
        }
        let mut all = true;
        for vip in held {
            let result = self.unmount(host, vip.0);
            all &= result.is_ok();
            if let Some(keeper) = self.keeper(host) {
                keeper.mounts.unmounted(vip.0, result);
            }
        }
        all
    }
}
