//! A lease is renewed only on the word of a brain that lives and knows of every gap.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::world::World;

/// A keeper may have to wait for the kernel before it hears what was said.
const UNDER_WAY: Duration = Duration::from_millis(450);

pub(super) struct Renewal;

impl Invariant for Renewal {
    fn name(&self) -> &'static str {
        "renewal"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let Sight::Renewed { host } = *sight else { return Ok(()) };
        let state = &world.hosts[host];
        let Some(brain) = &state.brain else {
            // Its last word may still be on its way, or have waited for a keeper that stood still.
            if world.now > state.brain_ended.max(state.keeper_went_on) + UNDER_WAY {
                return broken(host, "its keeper renews the lease, and there is no brain");
            }
            return Ok(());
        };
        if !brain.renews {
            return broken(host, "its keeper renews the lease against its brain's word");
        }
        if state.keeper.as_ref().map(|keeper| keeper.lease.epoch()) != Some(brain.epoch) {
            return broken(host, "its keeper renews the lease, and its brain does not know of a gap");
        }
        Ok(())
    }
}
