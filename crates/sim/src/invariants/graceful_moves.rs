//! Where nothing but an operator's wish moves a group, and strictly, nobody ever shares a VIP.

use super::two_holders::contestants;
use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Fault;
use crate::world::World;

/// Whether operators alone have been at work since the last rest.
#[derive(Default)]
pub(super) struct GracefulMoves {
    disturbed: bool,
}

fn is_graceful(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Switchover { .. }
            | Fault::Drained { .. }
            | Fault::Stopped { .. }
            | Fault::OtherFile { .. }
            | Fault::ServiceFails { .. }
    )
}

impl Invariant for GracefulMoves {
    fn name(&self) -> &'static str {
        "graceful-moves"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes: true } => {
                self.disturbed |= !is_graceful(&world.scenario.faults[index].fault);
            }
            Sight::Rested { .. } => self.disturbed = false,
            Sight::Scene if !self.disturbed => {
                for vip in 0..world.vips.len() {
                    if !world.setup.groups[world.vips[vip].0].hitless
                        && let [first, .., last] = contestants(world, vip)[..]
                    {
                        let name = crate::scenario::NAMES[first];
                        return broken(last, format!("shares {} with {name}", world.vips[vip].1));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
