//! Makes a scenario that fails smaller, by leaving faults out, as long as it fails in the same way.

use std::time::Duration;

use crate::bounds;
use crate::invariants::Violation;
use crate::run::{Options, run};
use crate::scenario::{Planned, Scenario};

/// Runs spent on one scenario at the most.
const RUNS: u32 = 400;
/// Seeds of the wire that are tried for each candidate.
const SEEDS: u64 = 4;
/// Time after the last fault that is kept.
const TAIL: Duration = Duration::from_secs(1);

/// What is left of a scenario.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest found that still fails.
    pub scenario: Scenario,
    /// Runs that it took.
    pub runs: u32,
}

/// Leaves out what is not needed for this violation. The wire draws its random numbers in the order of what happens, so
/// that without some fault the rest may go otherwise: a few other seeds of the wire are tried as well, and what no
/// longer fails is put back.
#[must_use]
pub fn shrink(scenario: &Scenario, violation: &Violation, options: Options) -> Shrunk {
    let mut runs = 0;
    // The candidate with the seed with which it fails, and when.
    let mut fails = |candidate: &Scenario| {
        (0..SEEDS).find_map(|more| {
            runs += 1;
            let candidate = Scenario { seed: candidate.seed.wrapping_add(more), ..candidate.clone() };
            let outcome = run(&candidate, options).violation?;
            (kind(&outcome) == kind(violation)).then(|| cut_after(candidate, outcome.at))
        })
    };
    let mut best = cut_after(scenario.clone(), violation.at);
    // Halves first, then quarters, down to single faults.
    let mut left = RUNS;
    let mut size = best.faults.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        let mut found = false;
        while from < best.faults.len() && left > 0 {
            left -= 1;
            let mut candidate = best.clone();
            let to = (from + size).min(candidate.faults.len());
            candidate.faults.drain(from..to);
            match fails(&candidate) {
                Some(smaller) => (best, found) = (smaller, true),
                None => from += size,
            }
        }
        if left == 0 || size == 1 && !found {
            break;
        }
        size = size.div_ceil(2);
    }
    // Then earlier: the calm before the first fault is cut off as far as it goes.
    let first = best.faults.first().map_or(Duration::ZERO, |planned| planned.at);
    let start = bounds::start(&scenario.setup) + TAIL;
    for keep in [start, start * 2, start * 5, start * 10] {
        let Some(cut) = first.checked_sub(keep) else { break };
        let mut candidate = best.clone();
        candidate.faults.iter_mut().for_each(|planned: &mut Planned| planned.at -= cut);
        candidate.lasts = candidate.lasts.saturating_sub(cut);
        if let Some(earlier) = fails(&candidate) {
            best = earlier;
            break;
        }
    }
    Shrunk { scenario: best, runs }
}

/// The invariant, and how its complaint begins: another node or figure is the same failure.
fn kind(violation: &Violation) -> (&'static str, Option<&str>) {
    (violation.invariant, violation.text.split_whitespace().next())
}

/// Nothing after the violation matters.
fn cut_after(mut scenario: Scenario, at: Duration) -> Scenario {
    scenario.faults.retain(|planned| planned.at <= at);
    scenario.lasts = at + TAIL;
    scenario
}
