//! When the faults have stopped, within a bound every VIP has exactly one holder, the right one, which everybody knows
//! and the client reaches; and then nothing moves any more.

use std::time::Duration;

use vipdrift_core::RoleName;

use super::{Finding, Invariant, Sight, broken, broken_everywhere};
use crate::scenario::NAMES;
use crate::world::World;

#[derive(Default)]
pub(super) struct Liveness {
    settled: Option<Duration>,
    /// A change of role since.
    moved: Option<(usize, String)>,
}

impl Liveness {
    fn unmoved(&mut self) -> Finding {
        match self.moved.take() {
            Some((host, reason)) => broken(host, format!("moves when all is over: {reason}")),
            None => Ok(()),
        }
    }
}

fn check(world: &World) -> Finding {
    for (group, setup) in world.setup.groups.iter().enumerate() {
        let name = crate::scenario::group_name(group);
        let mut holder = None;
        for &vip in &world.vips_of[group] {
            let holders: Vec<usize> = world.holders(vip).collect();
            let [one] = holders[..] else {
                return broken_everywhere(format!("{name} is held by {holders:?} when all is over"));
            };
            if holder.replace(one).is_some_and(|other| other != one) {
                return broken(one, format!("has a part of {name} when all is over"));
            }
            let served = world.client.served[vip.0];
            if served != Some(one) {
                let address = world.vips[vip.0].1;
                return broken(one, format!("holds {address}, and the client is served by {served:?}"));
            }
        }
        let holder = holder.unwrap_or_default();
        if !setup.failback.is_zero() && holder != setup.order[0] {
            return broken(
                holder,
                format!("holds {name}, which should have gone back to {}", NAMES[setup.order[0]]),
            );
        }
        for host in 0..world.hosts.len() {
            let Some(node) = world.node(host) else { return broken(host, "has no brain when all is over") };
            let snapshot = node.snapshot();
            let seen = &snapshot.groups[group];
            let role = if host == holder { RoleName::Active } else { RoleName::Standby };
            let member = setup.order.contains(&host);
            if member && seen.role != role || seen.active_node.as_deref() != Some(NAMES[holder]) {
                return broken(
                    host,
                    format!(
                        "is {:?} in {name} and sees {:?} active: {}",
                        seen.role, seen.active_node, seen.reason
                    ),
                );
            }
            if let Some(peer) = snapshot.peers.iter().find(|peer| !peer.hears_us) {
                return broken(host, format!("is not heard by {} when all is over", peer.name));
            }
        }
    }
    Ok(())
}

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { comes: true, .. } => {
                self.settled = None;
                return self.unmoved();
            }
            Sight::Decided { host, decision } if self.settled.is_some() && decision.moves() => {
                self.moved.get_or_insert((host, decision.reason.clone()));
            }
            Sight::Settled => {
                (self.settled, self.moved) = (Some(world.now), None);
                return check(world);
            }
            Sight::Rested { .. } => {
                self.unmoved()?;
                return check(world);
            }
            _ => {}
        }
        Ok(())
    }
}
