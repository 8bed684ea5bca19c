//! Who may speak in a cluster.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::hash;

pub(super) const CODE_LEN: usize = 16;
pub(super) const TAG_LEN: usize = 4;

/// The secrets of a cluster: one to sign with, and one more that is accepted, so that keys can be changed
/// node by node.
///
/// To change a key without a gap, let every node accept the new one first, and then sign with it.
#[derive(Clone)]
pub struct Keys {
    tag: [u8; TAG_LEN],
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

impl Keys {
    /// Keys made from secrets and the cluster's name: the same secret in two clusters makes two keys. A
    /// secret may have any length; it is for the caller to see that it is long enough to be one.
    #[must_use]
    pub fn new(cluster: &str, current: &[u8], previous: Option<&[u8]>) -> Self {
        Self {
            tag: hash("vipdrift cluster", cluster),
            current: derive(cluster, current),
            previous: previous.map(|secret| derive(cluster, secret)),
        }
    }

    /// Tells the cluster from others, without being a secret.
    pub(super) fn tag(&self) -> [u8; TAG_LEN] {
        self.tag
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; CODE_LEN] {
        let code = self.current.clone().chain_update(bytes).finalize().into_bytes();
        std::array::from_fn(|position| code[position])
    }

    /// Takes the same time whichever byte of `code` is wrong.
    pub(super) fn verify(&self, bytes: &[u8], code: &[u8; CODE_LEN]) -> bool {
        let matches =
            |key: &Hmac<Sha256>| key.clone().chain_update(bytes).verify_truncated_left(code).is_ok();
        matches(&self.current) || self.previous.as_ref().is_some_and(matches)
    }
}

fn derive(cluster: &str, secret: &[u8]) -> Hmac<Sha256> {
    let key = keyed(secret).chain_update("vipdrift heartbeat key 1").chain_update([0]).chain_update(cluster);
    keyed(&key.finalize().into_bytes())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
