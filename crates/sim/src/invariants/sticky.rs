//! A healthy holder stays the holder, whatever befalls the others.

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{Fault, NAMES, Planned};
use crate::world::World;

#[derive(Default)]
pub(super) struct Sticky {
    /// Who held each group at the last rest.
    holders: Vec<Option<usize>>,
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
        let Sight::Rested { episode } = *sight else { return Ok(()) };
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
