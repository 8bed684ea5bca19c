//! A single fault over a cluster at rest leaves the client without an answer no longer than the design says.

use std::time::Duration;

use super::sticky::harmless;
use super::{Finding, Invariant, Sight, broken_everywhere};
use crate::bounds;
use crate::figures::Figures;
use crate::scenario::{Fault, GroupCheck, Planned};
use crate::world::World;

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) fault: String,
    pub(crate) heartbeat: Duration,
    pub(crate) outage: Duration,
    pub(crate) bound: Option<Duration>,
}

#[derive(Default)]
pub(super) struct Outages {
    /// The world was at rest, so that the next fault is alone so far.
    rested: bool,
    /// The fault under way, and the groups that it concerns.
    single: Option<(usize, Vec<usize>)>,
    /// The longest outage of each group since.
    longest: Vec<Duration>,
    /// Who held each group when it came.
    holders: Vec<Option<usize>>,
    samples: Vec<Sample>,
    broken: Option<String>,
}

/// Name of a row in the table of figures.
fn row(world: &World, planned: &Planned, group: usize) -> String {
    let setup = &world.setup.groups[group];
    let hitless = setup.hitless;
    let how = match planned.fault {
        Fault::ServiceFails { .. } => match setup.check {
            GroupCheck::None => ", no check",
            _ if setup.order.len() == 1 => ", nobody else",
            GroupCheck::Demote if hitless => ", demoted, hitless",
            GroupCheck::Demote => ", demoted",
            GroupCheck::Fault => "",
        },
        Fault::Switchover { .. } | Fault::Drained { .. } if hitless => ", hitless",
        Fault::BrainKilled { slow: true, .. } => ", the next too slow",
        Fault::DaemonKilled { .. } | Fault::KeeperKilled { .. }
            if bounds::is_back_in_time(&world.setup, planned) =>
        {
            ", soon back"
        }
        _ => "",
    };
    format!("{}{how}", planned.fault.name())
}

/// The groups that a fault concerns: those held where it strikes.
fn concerned(world: &World, fault: &Fault) -> Vec<usize> {
    (0..world.setup.groups.len())
        .filter(|&group| {
            let holder = world.holders(world.vips_of[group][0]).next();
            match fault {
                Fault::Switchover { group: asked, .. } | Fault::ForeignHolder { group: asked } => {
                    *asked == group
                }
                Fault::ServiceFails { on, group: of } => *of == group && holder == Some(on.0),
                other => other.on().is_none_or(|on| holder == Some(on)),
            }
        })
        .collect()
}

/// How long the group may be without an answer. Where nobody else may take it, that is as long as its node is away.
fn bound(world: &World, planned: &Planned, group: usize) -> Option<Duration> {
    let setup = &world.setup.groups[group];
    let bound = bounds::outage(&world.setup, planned, setup)?;
    (setup.order.len() > 1 || bound.is_zero()).then_some(bound)
}

impl Outages {
    /// The fault gives the group's holder no reason to move, and nothing to give back.
    fn unconcerned(&self, world: &World, planned: &Planned, group: usize) -> bool {
        !matches!(planned.fault, Fault::VipAdded { .. })
            && world.setup.groups[group].failback.is_zero()
            && self.holders[group].is_some_and(|holder| harmless(std::slice::from_ref(planned), holder))
    }
}

impl Invariant for Outages {
    fn name(&self) -> &'static str {
        "outages"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes: true } => {
                let concerned = concerned(world, &world.scenario.faults[index].fault);
                self.single = std::mem::take(&mut self.rested).then_some((index, concerned));
                self.holders = (0..world.setup.groups.len())
                    .map(|group| world.holders(world.vips_of[group][0]).next())
                    .collect();
                self.longest = vec![Duration::ZERO; world.setup.groups.len()];
            }
            Sight::Outage { vip, lasted, .. } => {
                let Some((index, concerned)) = &self.single else { return Ok(()) };
                let group = world.vips[vip.0].0;
                let planned = &world.scenario.faults[*index];
                if !concerned.contains(&group) {
                    // What somebody adds by hand elsewhere may be believed for a moment.
                    if self.unconcerned(world, planned, group) {
                        let (address, name) = (world.vips[vip.0].1, planned.fault.name());
                        self.broken.get_or_insert(format!(
                            "{name} elsewhere: {address} not answered for {lasted:?}"
                        ));
                    }
                    return Ok(());
                }
                self.longest[group] = self.longest[group].max(lasted);
                if let Some(bound) = bound(world, planned, group)
                    && lasted > bound
                {
                    let address = world.vips[vip.0].1;
                    self.broken.get_or_insert(format!(
                        "{}: {address} not answered for {lasted:?}, at most {bound:?}",
                        row(world, planned, group)
                    ));
                }
            }
            Sight::Rested { episode } => {
                self.rested = true;
                let Some((index, concerned)) = self.single.take() else { return Ok(()) };
                if episode.len() != 1 {
                    self.broken = None;
                    return Ok(());
                }
                let planned = &world.scenario.faults[index];
                for group in concerned {
                    self.samples.push(Sample {
                        fault: row(world, planned, group),
                        heartbeat: world.setup.heartbeat,
                        outage: self.longest[group],
                        bound: bound(world, planned, group),
                    });
                }
                if let Some(text) = self.broken.take() {
                    return broken_everywhere(text);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn figures(&self, figures: &mut Figures) {
        figures.outages.extend(self.samples.iter().cloned());
    }
}
