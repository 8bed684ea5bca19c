//! Nothing is ordered that the configuration does not give to this node.

use super::{Finding, Invariant, Sight, broken};
use crate::world::World;

pub(super) struct Configuration;

impl Invariant for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let Sight::Ordered { host, desired } = *sight else { return Ok(()) };
        for vip in desired {
            let group = world.vips.get(vip.0).map(|(group, _)| *group);
            if group.is_none_or(|group| !world.setup.groups[group].order.contains(&host)) {
                return broken(host, format!("orders VIP {}, which is not its to hold", vip.0));
            }
        }
        Ok(())
    }
}
