//! A peer whose machine may live is given up only when its dead time is over, and a machine is taken for dead only when
//! it is.

use std::collections::BTreeSet;
use std::time::Duration;

use vipdrift_core::PeerStateName;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::{NAMES, Scenario};
use crate::world::World;

/// What was asked before this is no business of what is wrong now.
const QUESTIONS: Duration = Duration::from_millis(100);

pub(super) struct DeadTime {
    /// Of each node: the peers whose machines it takes for dead.
    dead: Vec<BTreeSet<String>>,
    /// When something last came or went.
    changed: Duration,
}

impl DeadTime {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self { dead: vec![BTreeSet::new(); scenario.setup.nodes], changed: Duration::ZERO }
    }

    /// Its machine answers, and has for as long as anybody can have asked.
    fn lives(&self, world: &World, host: usize, peer: &str) -> bool {
        let Some(other) = NAMES.iter().position(|name| *name == peer) else { return false };
        let both = [host, other];
        world.now > self.changed + QUESTIONS + world.setup.heartbeat * 2
            && world.see_each_other(host, other)
            && both.iter().all(|&node| world.hosts[node].is_awake() && !world.hosts[node].addressless)
            && world.lan.loss == 0
            && world.lan.delay < Duration::from_millis(1)
    }
}

impl Invariant for DeadTime {
    fn name(&self) -> &'static str {
        "dead-time"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Fault { .. } | Sight::Thawed { .. } => self.changed = world.now,
            Sight::Born { host } => self.dead[host].clear(),
            Sight::TimedOut { host, before: Some(before) } if ["dead", "suspicion"].contains(&before.why) => {
                return self.judge(world, host, before.why == "dead");
            }
            _ => {}
        }
        Ok(())
    }
}

impl DeadTime {
    fn judge(&mut self, world: &World, host: usize, slow: bool) -> Finding {
        let Some(node) = world.node(host) else { return Ok(()) };
        let now = world.hosts[host].clock.read(world.now);
        for peer in node.snapshot().peers {
            if peer.machine_dead {
                if !self.dead[host].contains(&peer.name) && self.lives(world, host, &peer.name) {
                    return broken(host, format!("takes the machine of {} for dead", peer.name));
                }
                self.dead[host].insert(peer.name);
                continue;
            }
            self.dead[host].remove(&peer.name);
            // The timer of that name serves the slow way alone.
            let Some(heard) = peer.last_heard.filter(|_| slow && peer.state == PeerStateName::Silent) else {
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
