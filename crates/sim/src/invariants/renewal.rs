//! A lease is renewed only on the word of a brain that lives and knows of every gap.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Scenario;
use crate::world::World;

/// A keeper may have to wait for the kernel before it hears what was said.
const UNDER_WAY: Duration = Duration::from_millis(450);

pub(super) struct Renewal {
    /// Of each node: the keeper was away, and no brain that knows of it has allowed a renewal.
    away: Vec<bool>,
}

impl Renewal {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { away: vec![false; scenario.setup.nodes] }
    }
}

impl Invariant for Renewal {
    fn name(&self) -> &'static str {
        "renewal"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::KeeperAway { host } => self.away[host] = true,
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
                Some(_) => self.away[host] = false,
            },
            _ => {}
        }
        Ok(())
    }
}
