//! Nobody moves more often than there are causes.

use super::{Finding, Invariant, Sight, broken_everywhere};
use crate::bounds::least_patience;
use crate::figures::Figures;
use crate::scenario::{Fault, Planned, Scenario, Setup};
use crate::world::World;

/// Changes of role of one group, on all nodes together, that a fault may cause by coming and going: two moves each time,
/// of two changes each.
const EACH: u64 = 8;
/// Lost packets that it takes to mislead a node: a heartbeat, three questions to its sender, and three to somebody else.
const MISLED: u64 = 7;

pub(super) struct Transitions {
    /// Changes of role of each group since the last rest.
    counts: Vec<u64>,
    /// Packets lost until then.
    lost: u64,
    most: u64,
}

impl Transitions {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { counts: vec![0; scenario.setup.groups.len()], lost: 0, most: 0 }
    }
}

fn allowed(setup: &Setup, planned: &Planned) -> u64 {
    let strikes = match planned.fault {
        // Where answers may come after the questions have been given up, nothing is promised but that nobody is faster
        // than suspicion, questions to the others and questions for the VIP allow: two nodes, to and fro.
        Fault::Delay { longest } if (setup.wire + longest) * 2 > least_patience(setup) => {
            let pace = setup.heartbeat * 11 / 10 + least_patience(setup) * 2;
            4 * u64::try_from(planned.lasts.as_nanos() / pace.as_nanos()).unwrap_or(u64::MAX)
        }
        // Handed back in vain after 5 s, and then each time after a pause of twice the last.
        Fault::MountsFail { .. } => 2 * u64::from((planned.lasts.as_secs() / 5 + 1).ilog2()),
        _ => 0,
    };
    EACH + strikes
}

impl Invariant for Transitions {
    fn name(&self) -> &'static str {
        "transitions"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Decided { decision, .. } if decision.moves() => {
                self.counts[decision.group.0] += 1;
            }
            Sight::Rested { episode } => {
                let most = self.counts.iter().copied().max().unwrap_or(0);
                self.counts.fill(0);
                self.most = self.most.max(most);
                let allowed: u64 = episode.iter().map(|planned| allowed(&world.setup, planned)).sum();
                let lost = world.tally.lost - std::mem::replace(&mut self.lost, world.tally.lost);
                // Misled, it lets go and takes again.
                let allowed = allowed.max(EACH) + 2 * (lost / MISLED);
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
