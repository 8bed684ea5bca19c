//! A group that some node can hold is not left without a holder, however long the faults of others last.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::bounds;
use crate::scenario::{Fault, Planned, Scenario};
use crate::world::World;

pub(super) struct Unheld {
    /// Of each group: since when nobody holds it, with nothing new in the world.
    since: Vec<Option<Duration>>,
    /// The faults since the last rest, by their position.
    episode: Option<(usize, usize)>,
}

impl Unheld {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { since: vec![None; scenario.setup.groups.len()], episode: None }
    }
}

/// It says nothing of nodes but the one that it befalls.
fn is_elsewhere(fault: &Fault) -> bool {
    matches!(fault, Fault::CrossLinkCut | Fault::SlowSideHangs { .. } | Fault::Forgery)
        || fault.on().is_some() && !matches!(fault, Fault::Switchover { .. } | Fault::VipAdded { .. })
}

/// Nothing is wrong with it, and has been since the last rest.
fn is_able(world: &World, host: usize, episode: &[Planned]) -> bool {
    let state = &world.hosts[host];
    state.is_awake()
        && state.keeper.is_some()
        && state.brain.as_ref().is_some_and(|brain| brain.frozen.is_none())
        && !episode.iter().any(|planned| planned.fault.nodes().iter().any(|node| node.0 == host))
}

impl Invariant for Unheld {
    fn name(&self) -> &'static str {
        "unheld"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes } => {
                self.since.fill(None);
                if comes {
                    self.episode = Some((self.episode.map_or(index, |(first, _)| first), index));
                }
            }
            Sight::Born { .. } | Sight::Thawed { .. } => self.since.fill(None),
            Sight::Rested { .. } => self.episode = None,
            Sight::TimedOut { .. } => {
                for (group, since) in self.since.iter_mut().enumerate() {
                    let held = world.holders(world.vips_of[group][0]).next().is_some();
                    if held {
                        *since = None;
                        continue;
                    }
                    let Some(begun) = *since else {
                        *since = Some(world.now);
                        continue;
                    };
                    let episode = self.episode.map_or(0..0, |(first, last)| first..last + 1);
                    let limit = bounds::recovery(&world.setup, &[]);
                    if world.now <= begun + limit || !world.faults().all(is_elsewhere) {
                        continue;
                    }
                    let setup = &world.setup.groups[group];
                    // One that holds what must be apart does not count.
                    let free = |host: usize| {
                        let holds = |other: &usize| world.hosts[host].kernel.has(world.vips_of[*other][0]);
                        !setup.apart.iter().any(holds)
                    };
                    if let Some(&able) = setup.order.iter().find(|&&host| {
                        free(host) && is_able(world, host, &world.scenario.faults[episode.clone()])
                    }) {
                        let name = crate::scenario::group_name(group);
                        return broken(able, format!("could hold {name}, and nobody does since {begun:?}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
