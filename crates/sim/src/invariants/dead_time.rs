//! A peer whose machine may live is given up only when its dead time is over.

use super::{Finding, Invariant, Sight, broken};
use vipdrift_core::PeerStateName;

use crate::world::World;

pub(super) struct DeadTime;

impl Invariant for DeadTime {
    fn name(&self) -> &'static str {
        "dead-time"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        // The timer of that name serves the slow way alone: whose machine does not answer is given up by another.
        let Sight::TimedOut { host, before: Some(before) } = *sight else { return Ok(()) };
        if before.why != "dead" {
            return Ok(());
        }
        let Some(node) = world.node(host) else { return Ok(()) };
        let now = world.hosts[host].clock.read(world.now);
        for peer in node.snapshot().peers {
            let Some(heard) =
                peer.last_heard.filter(|_| peer.state == PeerStateName::Silent && !peer.machine_dead)
            else {
                continue;
            };
            let silent = now.since(heard);
            if silent < world.setup.dead() {
                return broken(host, format!("gives up {} after {silent:?} of silence", peer.name));
            }
        }
        Ok(())
    }
}
