//! Groups that must be apart are not on one node but for a moment, and those that must be together are when all is over.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken, broken_everywhere};
use crate::scenario::{Scenario, group_name};
use crate::world::World;

/// What was found to be on one node is taken off within this: a keeper's report, a decision, an unmount.
const MOMENT: Duration = Duration::from_millis(50);
/// What could not be taken off is tried again after this.
const AGAIN: Duration = Duration::from_millis(1050);

pub(super) struct Placement {
    /// Pairs that must be apart.
    apart: Vec<[usize; 2]>,
    /// For each host and pair, since when it has both.
    since: Vec<Vec<Option<Duration>>>,
}

impl Placement {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let groups = scenario.setup.groups.iter().enumerate();
        let pairs = groups.flat_map(|(index, group)| group.apart.iter().map(move |&other| [index, other]));
        let apart: Vec<[usize; 2]> = pairs.filter(|[one, other]| one < other).collect();
        Self { since: vec![vec![None; apart.len()]; scenario.setup.nodes], apart }
    }
}

impl Invariant for Placement {
    fn name(&self) -> &'static str {
        "placement"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        if matches!(sight, Sight::Settled | Sight::Rested { .. }) {
            for (index, group) in world.setup.groups.iter().enumerate() {
                let of = |group: usize| world.holders(world.vips_of[group][0]).collect::<Vec<_>>();
                if let Some(&other) = group.together.iter().find(|&&other| of(other) != of(index)) {
                    return broken_everywhere(format!(
                        "{} is held by {:?} and {} by {:?} when all is over",
                        group_name(index),
                        of(index),
                        group_name(other),
                        of(other)
                    ));
                }
            }
        }
        for (host, since) in self.since.iter_mut().enumerate() {
            let state = &world.hosts[host];
            let looked_after = state.keeper.as_ref().is_some_and(|keeper| keeper.frozen.is_none());
            let has = |group: usize| world.vips_of[group].iter().any(|&vip| state.kernel.has(vip));
            for (pair, since) in self.apart.iter().zip(since) {
                let [one, other] = *pair;
                if !(has(one) && has(other)) {
                    *since = None;
                    continue;
                }
                // What somebody has added by hand stays while nobody can take it off.
                if state.kernel.refuses_unmounts || !state.is_awake() || !looked_after {
                    *since = Some(world.now + AGAIN);
                    continue;
                }
                let begun = *since.get_or_insert(world.now);
                if world.now > begun + MOMENT {
                    let (one, other) = (group_name(one), group_name(other));
                    return broken(
                        host,
                        format!("has {one} and {other} since {begun:?}, which must be apart"),
                    );
                }
            }
        }
        Ok(())
    }
}
