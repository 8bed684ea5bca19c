//! A node whose machine stood still says nothing as active before it has asked around.

use std::time::Duration;

use vipdrift_wire::heartbeat::{Message, Role, decode};

use super::{Finding, Invariant, Sight, broken};
use crate::bounds;
use crate::scenario::Scenario;
use crate::world::{Standstill, World};

pub(super) struct Thawed {
    /// Of each node: since when it goes on, having been away for longer than the dead time.
    since: Vec<Option<Duration>>,
}

impl Thawed {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { since: vec![None; scenario.setup.nodes] }
    }

    /// It cannot have asked often enough by now.
    fn cannot_know(&self, world: &World, host: usize) -> bool {
        // Its clock may be a little fast.
        let patience = bounds::least_patience(&world.setup) * 999 / 1000;
        self.since[host].is_some_and(|since| world.now < since + patience)
    }
}

impl Invariant for Thawed {
    fn name(&self) -> &'static str {
        "thawed"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            // A clock that stood still as well shows nothing.
            Sight::Thawed { host, stood, how } => {
                let long = stood > world.setup.dead() + world.setup.heartbeat * 2;
                let frozen = world.hosts[host].brain.as_ref().is_some_and(|brain| brain.frozen.is_none());
                self.since[host] = (how == Standstill::Suspended && long && frozen).then_some(world.now);
            }
            Sight::Born { host } => self.since[host] = None,
            Sight::Announced { host, vip } if self.cannot_know(world, host) => {
                return broken(host, format!("announces {} just after it stood still", world.vips[vip.0].1));
            }
            Sight::Said { host, bytes } if self.cannot_know(world, host) => {
                if let Ok(Message::Heartbeat(heartbeat)) = decode(bytes, &world.keys)
                    && let Some(states) = heartbeat.states
                    && states.groups.iter().any(|state| state.role == Role::Active)
                {
                    return broken(host, "says that it is active just after it stood still");
                }
            }
            _ => {}
        }
        Ok(())
    }
}
