//! One run: the world of a scenario, from its start to its end or to the first broken invariant.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use crate::bounds;
use crate::figures::Figures;
use crate::invariants::{Invariants, Sight, Violation};
use crate::scenario::{Planned, Scenario};
use crate::world::World;

/// How to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Keep every state change, not only the last ones.
    pub verbose: bool,
    /// Put a known fault into every core.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<vipdrift_core::Sabotage>,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The invariant that was broken, if one was.
    pub violation: Option<Violation>,
    /// Of everything that happened, in order: two runs with the same hash are the same.
    pub hash: u64,
    /// What was measured.
    pub figures: Figures,
    /// State changes, oldest first.
    pub log: Vec<String>,
}

/// The faults that belong together: from one rest to the next.
fn episodes(scenario: &Scenario) -> Vec<&[Planned]> {
    let mut episodes = Vec::new();
    let faults = &scenario.faults[..];
    let mut first = 0;
    for next in 1..=faults.len() {
        let ends = next == faults.len()
            || faults[next].at >= bounds::rest_after(&scenario.setup, &faults[first..next]);
        if ends && first < next {
            episodes.push(&faults[first..next]);
            first = next;
        }
    }
    episodes
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, options: Options) -> Outcome {
    let scenario = Rc::new(scenario.clone());
    let mut world = World::new(&scenario, Some(Invariants::all(&scenario)));
    world.verbose = options.verbose;
    #[cfg(feature = "sabotage")]
    {
        world.sabotage = options.sabotage;
    }
    // A core that panics has broken the first of all invariants.
    let ended = catch_unwind(AssertUnwindSafe(|| through(&mut world, &scenario)));
    if let Err(panic) = ended {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        let at = world.now;
        world.violation = Some(Violation { invariant: "no-panic", at, node: None, text });
    }
    let mut figures = Figures {
        runs: 1,
        simulated: world.now,
        events: world.tally.events,
        datagrams: world.tally.datagrams,
        faults: scenario.faults.iter().filter(|planned| planned.at <= world.now).count() as u64,
        ..Figures::default()
    };
    if let Some(invariants) = &world.invariants {
        invariants.figures(&mut figures);
    }
    Outcome { violation: world.violation, hash: world.hash, figures, log: world.log.into() }
}

fn through(world: &mut World, scenario: &Scenario) {
    let setup = &scenario.setup;
    world.start_all(setup.dead());
    let start = bounds::start(setup);
    if scenario.faults.first().is_none_or(|planned| planned.at > start) {
        rest(world, &[], start);
    }
    for episode in episodes(scenario) {
        if world.violation.is_some() {
            return;
        }
        rest(world, episode, bounds::rest_after(setup, episode));
    }
    let left = scenario.lasts.saturating_sub(world.now);
    if !left.is_zero() && world.violation.is_none() {
        world.run(left);
        world.see(&Sight::Rested { episode: &[] });
    }
}

/// Runs until an episode is over, has settled and rested.
fn rest(world: &mut World, episode: &[Planned], rested: Duration) {
    let settled = rested - bounds::quiet(&world.setup);
    world.run(settled.saturating_sub(world.now));
    world.see(&Sight::Settled);
    world.run(rested.saturating_sub(world.now));
    world.see(&Sight::Rested { episode });
}
