//! What was recorded, changed, invented or signed for somebody else changes nothing.

use std::fmt::Debug;

use vipdrift_core::{GroupSnapshot, PeerSnapshot};

use super::{Finding, Invariant, Sight, broken};
use crate::world::World;

pub(super) struct Forgery;

impl Invariant for Forgery {
    fn name(&self) -> &'static str {
        "forgery"
    }

    fn see(&mut self, world: &World, sight: &Sight<'_>) -> Finding {
        let Sight::Fooled { host, before } = *sight else { return Ok(()) };
        let Some(node) = world.node(host) else { return broken(host, "ends because of a forged datagram") };
        let after = node.snapshot();
        // Who answered a moment ago is shown for a moment, and time goes on.
        let timeless = |groups: &[GroupSnapshot]| {
            groups
                .iter()
                .cloned()
                .map(|group| GroupSnapshot { occupied_by: None, ..group })
                .collect::<Vec<_>>()
        };
        differs(host, &before.health, &after.health)?;
        for (before, after) in before.peers.iter().zip(&after.peers) {
            // What its file has in it a peer has signed for this life of both: it is as true when it is said again, and what
            // was said before it counted may be heard only then.
            // The files of a scenario differ in nothing else.
            let true_ones = |path: &String| path.starts_with("group ") && path.ends_with(" prefer");
            let told = before.differs.is_empty()
                && before.same_config == Some(false)
                && after.differs.iter().all(true_ones);
            let after = match told {
                true => PeerSnapshot { differs: Vec::new(), ..after.clone() },
                false => after.clone(),
            };
            differs(host, before, &after)?;
        }
        for (before, after) in timeless(&before.groups).iter().zip(&timeless(&after.groups)) {
            differs(host, before, after)?;
        }
        Ok(())
    }
}

fn differs<T: PartialEq + Debug>(host: usize, before: &T, after: &T) -> Finding {
    if before == after {
        return Ok(());
    }
    broken(host, format!("is changed by a forged datagram: {before:?} to {after:?}"))
}
