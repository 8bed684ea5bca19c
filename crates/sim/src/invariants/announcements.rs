//! A VIP is announced only when the kernel has confirmed it, and whoever becomes active has announced every VIP.

use std::time::Duration;

use vipdrift_core::{RoleName, VipIndex};

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Scenario;
use crate::world::World;

pub(super) struct Announcements {
    /// For each host and VIP: when it was last mounted, and last announced.
    mounted: Vec<Vec<Option<Duration>>>,
    announced: Vec<Vec<Option<Duration>>>,
}

impl Announcements {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let never = vec![vec![None; scenario.setup.vips().len()]; scenario.setup.nodes];
        Self { mounted: never.clone(), announced: never }
    }
}

impl Invariant for Announcements {
    fn name(&self) -> &'static str {
        "announcements"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Mounted { host, vip } => self.mounted[host][vip.0] = Some(world.now),
            Sight::Announced { host, vip } => {
                self.announced[host][vip.0] = Some(world.now);
                let told = world.hosts[host].brain.as_ref().is_some_and(|brain| brain.told.contains(&vip));
                if !told {
                    return broken(host, format!("announces {}, which is not mounted", world.vips[vip.0].1));
                }
            }
            Sight::Decided { host, decision } if decision.to == RoleName::Active => {
                for &VipIndex(vip) in &world.vips_of[decision.group.0] {
                    let done = self.announced[host][vip];
                    if done.is_none() || done < self.mounted[host][vip] {
                        return broken(
                            host,
                            format!("is active and has not announced {}", world.vips[vip].1),
                        );
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
