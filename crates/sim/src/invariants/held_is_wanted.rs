//! At rest a kernel has what its core wants, no more and no less.

use std::collections::BTreeSet;

use vipdrift_core::VipIndex;

use super::{Finding, Invariant, Sight, broken};
use crate::world::World;

pub(super) struct HeldIsWanted;

impl Invariant for HeldIsWanted {
    fn name(&self) -> &'static str {
        "held-is-wanted"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        if !matches!(sight, Sight::Settled | Sight::Rested { .. }) {
            return Ok(());
        }
        for (index, host) in world.hosts.iter().enumerate() {
            let (Some(keeper), Some(brain)) = (&host.keeper, &host.brain) else { continue };
            let held: BTreeSet<VipIndex> = host.kernel.vips().collect();
            if keeper.is_at_rest() && (held != brain.desired || held != brain.told) {
                let (desired, told) = (&brain.desired, &brain.told);
                return broken(index, format!("holds {held:?}, wants {desired:?}, was told {told:?}"));
            }
        }
        Ok(())
    }
}
