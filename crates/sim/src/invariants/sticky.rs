//! A healthy holder stays the holder, whatever befalls the others.

use vipdrift_core::RoleName;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{Fault, NAMES, Planned};
use crate::world::World;

#[derive(Default)]
pub(super) struct Sticky {
    /// Who held each group at the last rest.
    holders: Vec<Option<usize>>,
    /// The first fault since then, and the last.
    episode: Option<(usize, usize)>,
}

/// It gives no reason to move what `holder` holds.
fn is_harmless(fault: &Fault, holder: usize) -> bool {
    match fault {
        Fault::HeartbeatsBlocked
        | Fault::HeartbeatsBlockedOneWay { .. }
        | Fault::EchoesBlocked
        | Fault::CrossLinkCut
        | Fault::Forgery
        | Fault::Proxy
        | Fault::Twice { .. }
        | Fault::SlowSideHangs { .. }
        | Fault::VipRemoved { .. }
        | Fault::ForeignHolder { .. } => true,
        // One that is cut off and knows of no reference takes what it can, in a later term.
        Fault::SilentCut { .. } => false,
        Fault::Switchover { .. } | Fault::Partition { .. } | Fault::OneWayCut { .. } => false,
        Fault::Loss { .. } | Fault::Delay { .. } => false,
        other => other.on().is_some_and(|on| on != holder),
    }
}

pub(super) fn harmless(episode: &[Planned], holder: usize) -> bool {
    let blocked = |planned: &Planned| {
        matches!(planned.fault, Fault::HeartbeatsBlocked | Fault::HeartbeatsBlockedOneWay { .. })
    };
    let any_blocked = episode.iter().any(blocked);
    episode.iter().all(|planned| match planned.fault {
        // A preferred node that is not heard and answers for the VIP is yielded to.
        Fault::VipAdded { on, .. } => {
            let alone = |other: &Planned| std::ptr::eq(other, planned) || other.fault.on() != Some(on.0);
            !any_blocked && episode.iter().all(alone)
        }
        // One of which nothing is heard but ARP may be dead, and a switch answers for it.
        Fault::EchoesBlocked => !any_blocked,
        ref fault => is_harmless(fault, holder),
    })
}

impl Invariant for Sticky {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let episode = match *sight {
            Sight::Fault { index, comes: true } => {
                self.episode = Some((self.episode.map_or(index, |(first, _)| first), index));
                return Ok(());
            }
            // Not even for a moment.
            Sight::Decided { host, decision }
                if decision.from == RoleName::Active && decision.to != RoleName::Active =>
            {
                let group = decision.group.0;
                let (Some((first, last)), Some(Some(holder))) = (self.episode, self.holders.get(group))
                else {
                    return Ok(());
                };
                if *holder == host
                    && world.setup.groups[group].failback.is_zero()
                    && harmless(&world.scenario.faults[first..=last], host)
                {
                    return broken(host, format!("lets go without a reason: {}", decision.reason));
                }
                return Ok(());
            }
            Sight::Rested { episode } => episode,
            _ => return Ok(()),
        };
        self.episode = None;
        let now: Vec<Option<usize>> = (0..world.setup.groups.len())
            .map(|group| world.holders(world.vips_of[group][0]).next())
            .collect();
        let before = std::mem::replace(&mut self.holders, now.clone());
        for (group, holder) in before.iter().enumerate() {
            if let (Some(holder), Some(now)) = (*holder, now[group])
                && world.setup.groups[group].failback.is_zero()
                && holder != now
                && harmless(episode, holder)
            {
                let group = crate::scenario::group_name(group);
                return broken(
                    now,
                    format!("has {group}, which {} held and had no reason to lose", NAMES[holder]),
                );
            }
        }
        Ok(())
    }
}
