//! Every deadline makes progress: after it the next one lies in the future, and there are not too many of them.

use std::time::Duration;

use super::{Finding, Invariant, Sight, broken};
use crate::scenario::NAMES;
use crate::world::World;

/// Deadlines of a node in a second of the world. Asking every 2 ms for all that can be asked for makes some hundreds.
const MOST: u64 = 3000;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Progress {
    since: Duration,
    counts: [u64; NAMES.len()],
}

impl Invariant for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let Sight::TimedOut { host, before } = *sight else { return Ok(()) };
        if world.now > self.since + SECOND {
            self.since = world.now;
            self.counts.fill(0);
        }
        self.counts[host] += 1;
        if self.counts[host] > MOST {
            return broken(host, format!("more than {MOST} deadlines within a second, the last {before:?}"));
        }
        let Some(node) = world.node(host) else { return Ok(()) };
        let now = world.hosts[host].clock.read(world.now);
        match node.next_deadline() {
            Some(next) if next.at <= now => {
                broken(host, format!("deadline {before:?} was followed by {next:?}"))
            }
            _ => Ok(()),
        }
    }
}
