//! Where heartbeats are merely blocked, nothing moves and nobody shares a VIP.

use super::two_holders::contestants;
use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Fault;
use crate::world::World;

/// Whether anything else has happened since the last rest, and whether the first has come.
pub(super) struct BlockedHeartbeats {
    disturbed: bool,
    blocked: bool,
}

impl Default for BlockedHeartbeats {
    /// Starting is moving.
    fn default() -> Self {
        Self { disturbed: true, blocked: false }
    }
}

impl Invariant for BlockedHeartbeats {
    fn name(&self) -> &'static str {
        "blocked-heartbeats"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes: true } => match world.scenario.faults[index].fault {
                // Where echoes do not pass either, all that is heard of a machine is ARP, which a switch may answer for it.
                Fault::HeartbeatsBlocked | Fault::HeartbeatsBlockedOneWay { .. } | Fault::CrossLinkCut => {
                    self.blocked = true
                }
                _ => self.disturbed = true,
            },
            Sight::Rested { .. } => (self.disturbed, self.blocked) = (false, false),
            Sight::Decided { host, decision }
                if self.blocked && !self.disturbed && decision.from != decision.to =>
            {
                return broken(
                    host,
                    format!("moves though heartbeats are merely blocked: {}", decision.reason),
                );
            }
            Sight::Scene if self.blocked && !self.disturbed => {
                for vip in 0..world.vips.len() {
                    if let Some(&host) = contestants(world, vip).first() {
                        return broken(host, format!("shares {}", world.vips[vip].1));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
