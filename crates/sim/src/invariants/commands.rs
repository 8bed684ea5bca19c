//! Every command is answered once: when it is done, when it has failed, or when its node ends.

use super::{Finding, Invariant, Sight, broken};
use crate::world::World;

pub(super) struct Commands;

impl Invariant for Commands {
    fn name(&self) -> &'static str {
        "commands"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        match *sight {
            Sight::Replied { host, known: false } => {
                broken(host, "answers what nobody has asked, or answers twice")
            }
            Sight::Exited { host, open: 1.. } => broken(host, "ends without an answer to a command"),
            Sight::Rested { .. } => {
                let open = |host: usize| world.hosts[host].brain.as_ref().is_some_and(|b| !b.open.is_empty());
                match (0..world.hosts.len()).find(|&host| open(host)) {
                    Some(host) => broken(host, "has not answered a command long after everything is over"),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
