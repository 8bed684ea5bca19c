//! A daemon that makes way for another one, for longer than a brain takes to start.

use std::collections::BTreeSet;
use std::time::Duration;

use vipdrift_core::keeper::Lease;
use vipdrift_core::{Carry, VipIndex, Words};

use super::Keeper;
use crate::world::World;

/// What it leaves to the next.
pub(crate) struct Left {
    carry: Option<Carry>,
    words: Option<Words>,
    number: u64,
    /// VIPs that are to stay.
    kept: BTreeSet<usize>,
    until: Duration,
}

impl World {
    /// Makes way: the VIPs get a lifetime of their own, the peers hear the word of the brain, and nobody is there any more.
    pub(crate) fn make_way(&mut self, host: usize, window: Duration) -> Left {
        let brain = self.hosts[host].brain.as_ref().expect("a brain");
        let word = brain.node.absence(window).expect("at rest");
        let until = self.now + window;
        let keeper = self.keeper(host).expect("a keeper");
        keeper.lease.extend(window);
        let lifetime = keeper.lease.lifetime();
        let kept: BTreeSet<usize> = keeper.mounts.to_renew().into_iter().collect();
        let (carry, words, number) = (keeper.carry.clone(), keeper.words.clone(), keeper.number);
        for &vip in &kept {
            self.kernel_sets(host, VipIndex(vip), lifetime);
        }
        self.kill_daemon(host);
        self.send_word(host, Some(&word));
        Left { carry, words, number, kept, until }
    }

    /// The next one is there.
    pub(crate) fn take_over(&mut self, host: usize, left: Left) {
        let (now, local) = (self.now, self.local(host));
        let mut lease = Lease::new(self.setup.lease(), self.setup.heartbeat, local);
        lease.restore(local);
        let mut keeper = Keeper::new(lease, now);
        let held: BTreeSet<usize> = self.hosts[host].kernel.vips().map(|vip| vip.0).collect();
        let plan = left.carry.as_ref().map_or(0, |carry| carry.plan);
        keeper.mounts.observe(held.clone());
        keeper.mounts.order(plan, &held & &left.kept);
        (keeper.carry, keeper.words, keeper.number) = (left.carry, left.words, left.number);
        self.hosts[host].keeper = Some(keeper);
        if now < left.until {
            self.start_brain(host, left.until, true);
        } else {
            self.give_up(host, now);
        }
        self.rest_of_turn(host);
    }

    /// The next one is there, and can put nothing in force: it lets go and says so.
    pub(crate) fn take_over_in_vain(&mut self, host: usize, left: Left) {
        let words = left.words.clone();
        let held: Vec<VipIndex> = self.hosts[host].kernel.vips().collect();
        for vip in held {
            self.kernel_drops(host, vip);
        }
        self.send_word(host, words.as_ref().map(|words| &words.resigned));
    }
}
