//! Where heartbeats are merely blocked, nothing moves and nobody shares a VIP.

use super::two_holders::contestants;
use super::{Finding, Invariant, Sight, broken};
use crate::scenario::Fault;
use crate::world::World;

/// Whether anything else has happened since the last rest, and whether the first has come.
pub(super) struct BlockedHeartbeats {
    disturbed: bool,
    blocked: bool,
    /// Echoes do not pass.
    mute: bool,
}

impl BlockedHeartbeats {
    /// Where neither passes, all that is heard of a machine is ARP, which a switch may answer for it.
    fn judges(&self) -> bool {
        self.blocked != self.mute && !self.disturbed
    }
}

impl Default for BlockedHeartbeats {
    /// Starting is moving.
    fn default() -> Self {
        Self { disturbed: true, blocked: false, mute: false }
    }
}

impl Invariant for BlockedHeartbeats {
    fn name(&self) -> &'static str {
        "blocked-heartbeats"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { index, comes: true } => match world.scenario.faults[index].fault {
                Fault::HeartbeatsBlocked | Fault::HeartbeatsBlockedOneWay { .. } | Fault::CrossLinkCut => {
                    self.blocked = true;
                }
                Fault::EchoesBlocked => self.mute = true,
                _ => self.disturbed = true,
            },
            Sight::Rested { .. } => *self = Self { disturbed: false, blocked: false, mute: false },
            Sight::Decided { host, decision } if self.judges() && decision.moves() => {
                return broken(
                    host,
                    format!("moves though heartbeats are merely blocked: {}", decision.reason),
                );
            }
            Sight::Scene if self.judges() => {
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
