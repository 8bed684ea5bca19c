//! What a foreign host holds is not mounted beside it. A group that was held when the stranger came may be handed over:
//! the heir mounts on the holder's word.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::bounds::patience;
use crate::scenario::{Fault, HOLD, Scenario};
use crate::world::World;

/// A word of a holder that has let go is old after this, and so is an order to mount.
const UNDER_WAY: Duration = Duration::from_millis(20);

/// A stranger has a group's VIPs.
#[derive(Debug, Clone)]
struct Stranger {
    since: Duration,
    /// Nodes that have handed the group on since before then have it now.
    held: bool,
    /// When they last had it.
    let_go: Option<Duration>,
}

pub(super) struct ForeignHolder {
    strangers: Vec<Option<Stranger>>,
}

impl ForeignHolder {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { strangers: vec![None; scenario.setup.groups.len()] }
    }
}

/// How long a step may be held up at the moment, or a word between the holder's kernel and the heir's: whoever is held up
/// for less than half an interval has missed no deadline, and cannot know it.
fn held_up(world: &World) -> Duration {
    let setup = &world.setup;
    let spans = world.scenario.faults.iter().filter_map(|planned| {
        let span = match planned.fault {
            // Behind another step, the step itself, and its confirmation.
            Fault::KeeperSlow { longest, .. } => longest * 3,
            // On the holder's side, until its keeper takes it for lost, and on the heir's.
            Fault::BrainFrozen { .. } => HOLD + setup.heartbeat / 2,
            Fault::BrainStalls { longest, .. } => longest.min(HOLD) + setup.heartbeat / 2,
            _ => return None,
        };
        (planned.at <= world.now && world.now <= planned.over() + span).then_some(span)
    });
    spans.max().unwrap_or_default()
}

impl Invariant for ForeignHolder {
    fn name(&self) -> &'static str {
        "foreign-holder"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes } => {
                let Fault::ForeignHolder { group } = world.scenario.faults[index].fault else {
                    return Ok(());
                };
                if comes && self.strangers[group].is_none() {
                    let held = world.holders(world.vips_of[group][0]).next().is_some();
                    self.strangers[group] = Some(Stranger { since: world.now, held, let_go: None });
                } else if !comes && !world.lan.foreign[group] {
                    self.strangers[group] = None;
                }
            }
            Sight::Scene => {
                for (group, stranger) in self.strangers.iter_mut().enumerate() {
                    let Some(stranger) = stranger else { continue };
                    let held = world.holders(world.vips_of[group][0]).next().is_some();
                    if stranger.held && !held {
                        stranger.let_go = Some(world.now);
                    }
                    stranger.held = held;
                }
            }
            Sight::Mounted { host, vip } => {
                let group = world.vips[vip.0].0;
                let Some(stranger) = &self.strangers[group] else { return Ok(()) };
                let setup = &world.setup;
                let within = UNDER_WAY + held_up(world);
                // Silence counts for half of the longest pause between questions.
                let unasked = setup.heartbeat.clamp(Duration::from_millis(50), Duration::from_secs(1)) / 2;
                let handed_over = stranger.held || stranger.let_go.is_some_and(|at| world.now <= at + within);
                let hears = world.see_each_other(host, world.lan.stranger_station())
                    && world.lan.loss == 0
                    && world.lan.delay < Duration::from_millis(1);
                let just_woken = world.hosts[host].thawed.is_some();
                let late = world.now > stranger.since + unasked + patience(setup) + within;
                if hears && late && !just_woken && !handed_over && !setup.groups[group].claim {
                    return broken(host, format!("mounts {} beside a foreign host", world.vips[vip.0].1));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
