//! Nobody moves more often than there are causes.

use super::{Finding, Invariant, Sight, broken_everywhere};
use crate::figures::Figures;
use crate::scenario::{Fault, Planned, Scenario};
use crate::world::World;

/// Changes of role of one group, on all nodes together, that a fault may cause by coming and going.
const EACH: u64 = 12;
/// Faults that strike again and again while they last, so often in a second.
const REPEATED: u64 = 12;

pub(super) struct Transitions {
    /// Changes of role of each group since the last rest.
    counts: Vec<u64>,
    most: u64,
}

impl Transitions {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { counts: vec![0; scenario.setup.groups.len()], most: 0 }
    }
}

fn allowed(episode: &[Planned]) -> u64 {
    episode
        .iter()
        .map(|planned| {
            let goes_on = matches!(
                planned.fault,
                Fault::Loss { .. }
                    | Fault::Delay { .. }
                    | Fault::BrainStalls { .. }
                    | Fault::OneWayCut { .. }
                    // Open: what is handed back is answered for from a switch's memory, and goes to and fro.
                    | Fault::Proxy
            );
            // A preferred node that cannot mount is tried again, the pause between growing to half a minute.
            let tried = if matches!(planned.fault, Fault::MountsFail { .. }) {
                4 * (planned.lasts.as_secs() / 30)
            } else {
                0
            };
            EACH + tried + if goes_on { REPEATED * (planned.lasts.as_secs() + 1) } else { 0 }
        })
        .sum()
}

impl Invariant for Transitions {
    fn name(&self) -> &'static str {
        "transitions"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Decided { decision, .. } if decision.from != decision.to => {
                self.counts[decision.group.0] += 1;
            }
            Sight::Rested { episode } => {
                let most = self.counts.iter().copied().max().unwrap_or(0);
                self.counts.fill(0);
                self.most = self.most.max(most);
                let allowed = allowed(episode) + EACH;
                if most > allowed {
                    let now = world.now;
                    return broken_everywhere(format!(
                        "{most} changes of role until {now:?}, {allowed} allowed"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn figures(&self, figures: &mut Figures) {
        figures.most_transitions = figures.most_transitions.max(self.most);
    }
}
