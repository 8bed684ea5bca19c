//! A program that runs before a mount runs on one node, and what it has done is undone where the node is not active after
//! all: two services that believe to be the active one are as bad as two holders.

use std::time::Duration;

use vipdrift_core::RoleName;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{Scenario, group_name};
use crate::world::World;

pub(super) struct Prepared {
    /// Of each host and group: since when its service is prepared, or serves.
    since: Vec<Vec<Option<Duration>>>,
}

impl Prepared {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { since: vec![vec![None; scenario.setup.groups.len()]; scenario.setup.nodes] }
    }
}

impl Invariant for Prepared {
    fn name(&self) -> &'static str {
        "prepared"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Prepares { host, group, yes } => self.since[host][group] = yes.then_some(world.now),
            Sight::Decided { host, decision } => {
                let since = &mut self.since[host][decision.group.0];
                *since = (decision.to == RoleName::Active).then_some(since.unwrap_or(world.now));
            }
            // Whoever begins tells its roles, and the hook of each runs; what it was active for it goes on with.
            Sight::Born { host } => {
                let Some(node) = world.node(host) else { return Ok(()) };
                for (since, group) in self.since[host].iter_mut().zip(node.snapshot().groups) {
                    *since = since.filter(|_| group.role == RoleName::Active);
                }
            }
            Sight::Rested { .. } => {
                for (host, groups) in self.since.iter().enumerate() {
                    let state = &world.hosts[host];
                    let told =
                        state.brain.as_ref().is_some_and(|brain| brain.frozen.is_none()) && state.is_awake();
                    for (group, since) in groups.iter().enumerate() {
                        let holds = state.kernel.has(world.vips_of[group][0]);
                        if let Some(since) = since.filter(|_| told && !holds) {
                            let name = group_name(group);
                            return broken(
                                host,
                                format!("has prepared {name} since {since:?}, and does not hold it"),
                            );
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
