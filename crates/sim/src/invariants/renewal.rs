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
        match *sight {
            Sight::Renewed { host } => match &world.hosts[host].brain {
                // Its last word may still be on its way, or have waited for a keeper that stood still.
                None if world.now
                    > world.hosts[host].brain_ended.max(world.hosts[host].keeper_went_on) + UNDER_WAY =>
                {
                    return broken(host, "its keeper renews the lease, and there is no brain");
                }
                None => {}
                Some(brain) if !brain.renews => {
                    return broken(host, "its keeper renews the lease against its brain's word");
                }
                Some(brain) => {
                    let gaps = world.hosts[host].keeper.as_ref().map(|keeper| keeper.lease.epoch());
                    if gaps != Some(brain.epoch) {
                        return broken(
                            host,
                            "its keeper renews the lease, and its brain does not know of a gap",
                        );
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }
}
