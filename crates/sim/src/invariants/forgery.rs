//! What was recorded, changed, invented or signed for somebody else changes nothing.

use vipdrift_core::GroupSnapshot;

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
        let same = before.health == after.health
            && before.peers == after.peers
            && timeless(&before.groups) == timeless(&after.groups);
        if same {
            Ok(())
        } else {
            broken(host, format!("is changed by a forged datagram: {before:?} to {after:?}"))
        }
    }
}
