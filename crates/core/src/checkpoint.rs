//! The whole state of a node, to be written down and brought back.
//!
//! A node that is brought back behaves exactly as the one that was written down: the same events at the same times
//! lead to the same actions. Keys are never part of it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vipdrift_wire::heartbeat::{Keys, Rejected};

use crate::config::NodeConfig;
use crate::node::Node;

/// Why the core rejects datagrams that [`vipdrift_wire::heartbeat::decode`] accepts.
const REASONS: [&str; 4] = ["unknown_sender", "not_for_this_node", "replayed", "unproven_incarnation"];

/// A node that was written down, without its keys.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(Node);

impl Node {
    /// Everything that this node knows, to be serialised and read back as a [`Checkpoint`]; the keys are left out. To be
    /// asked for between two events, when [`Node::poll_action`] has answered `None`: what is still to be done is not in
    /// it.
    #[must_use]
    pub fn checkpoint(&self) -> impl Serialize + '_ {
        debug_assert!(self.is_drained(), "poll_action was not drained");
        self
    }

    /// Names this life of the node; the peers are told.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What it decides by.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The node that was written down, with these keys. Keys of another secret serve where what it sends goes nowhere and
    /// what it hears was signed with them; the cluster's name in them must be the same.
    #[must_use]
    pub fn restore(checkpoint: Checkpoint, keys: Keys) -> Self {
        let Checkpoint(mut node) = checkpoint;
        node.config.keys = keys;
        node
    }
}

/// Stands in until [`Node::restore`] puts in the real ones.
pub(crate) fn no_keys() -> Keys {
    Keys::new("", &[], None)
}

/// As bytes, which a list of numbers is not in every format.
pub(crate) fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Counted rejections: the names are those that this program has.
pub(crate) fn rejected<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<&'static str, u64>, D::Error> {
    let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let known = |name: &str| {
        let mut names = Rejected::ALL.iter().map(|reason| reason.name()).chain(REASONS);
        names.find(|known| *known == name)
    };
    counts
        .into_iter()
        .map(|(name, count)| match known(&name) {
            Some(name) => Ok((name, count)),
            None => Err(D::Error::custom(format!("unknown reason of a rejection: {name}"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_core_is_known_here() {
        let text = include_str!("exchange.rs");
        let used = text.split("self.reject(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let mut used: Vec<_> = used.collect();
        assert!(used.len() >= REASONS.len(), "{used:?}");
        used.retain(|name| !REASONS.contains(name));
        // On a line of its own in the text.
        assert!(text.contains("self.reject(\"not_for_this_node\")"));
        assert_eq!(used, Vec::<&str>::new());
    }
}
