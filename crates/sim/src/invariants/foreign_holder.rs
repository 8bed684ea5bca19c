//! What a foreign host holds is not mounted beside it. A group that was held when the stranger came may be handed over:
//! the heir mounts on the holder's word.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{Fault, Scenario};
use crate::world::World;

/// An order given before the stranger came may take this long.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// A word of a holder that has let go is old after this.
const HANDED_OVER: Duration = Duration::from_millis(20);

/// A brain that has begun anew is not looked at for this long.
const ANEW: Duration = Duration::from_secs(1);

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
                // An heir that is held up, and has missed no deadline of its own, cannot know how old the word is.
                let slow = world.scenario.faults.iter().any(|planned| {
                    matches!(
                        planned.fault,
                        Fault::KeeperSlow { .. } | Fault::BrainFrozen { .. } | Fault::BrainStalls { .. }
                    ) && planned.at <= world.now
                        && world.now <= planned.over() + UNDER_WAY
                });
                // Open: one that has just begun anew, whose VIP the lease has taken off, may mount it again.
                let anew = world.now < world.hosts[host].brain_ended + ANEW + world.setup.heartbeat * 2;
                let within = if slow { UNDER_WAY } else { HANDED_OVER };
                let handed_over = stranger.held || stranger.let_go.is_some_and(|at| world.now <= at + within);
                let hears = world.see_each_other(host, world.lan.stranger_station())
                    && world.lan.loss == 0
                    && world.lan.delay < Duration::from_millis(1);
                let just_woken = world.hosts[host].thawed.is_some();
                let late = world.now > stranger.since + UNDER_WAY;
                if hears && late && !just_woken && !anew && !handed_over && !world.setup.groups[group].claim {
                    return broken(host, format!("mounts {} beside a foreign host", world.vips[vip.0].1));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
