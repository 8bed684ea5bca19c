//! A number that every node computes alike.

use sha2::{Digest as _, Sha256};

/// Weight of `node` for `group`: the highest comes first (rendezvous hashing, Thaler and Ravishankar 1998).
pub(crate) fn rendezvous(group: &str, node: &str) -> u64 {
    let hash = Sha256::digest(format!("vipdrift rendezvous 1\n{group}\n{node}").as_bytes());
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
