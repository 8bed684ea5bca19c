//! What an earlier life has left is gone before a fresh one says its first word.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Fault;
use crate::world::World;

/// What somebody adds by hand just now is found by the next look.
const BY_HAND: Duration = Duration::from_secs(1);

pub(super) struct FreshStart;

impl Invariant for FreshStart {
    fn name(&self) -> &'static str {
        "fresh-start"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let Sight::Said { host, .. } = *sight else { return Ok(()) };
        let first = world.hosts[host].brain.as_ref().is_some_and(|brain| brain.silent);
        let by_hand = world.scenario.faults.iter().any(|planned| {
            matches!(planned.fault, Fault::VipAdded { on, .. } if on.0 == host)
                && planned.at <= world.now
                && world.now <= planned.at + BY_HAND
        });
        let refused = world.hosts[host].kernel.refuses_unmounts;
        if first && !by_hand && !refused && !world.hosts[host].kernel.is_empty() {
            return broken(host, "says its first word with a VIP of an earlier life mounted");
        }
        Ok(())
    }
}
