//! Who may speak in a cluster.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

use super::outline::first_eight;
use super::{NodeId, hash};

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

    /// The key by which the code is right, if there is one. Takes the same time whichever byte of `code` is wrong.
    pub(super) fn verify(&self, bytes: &[u8], code: &[u8; CODE_LEN]) -> Option<Veil<'_>> {
        let matches =
            |key: &&Hmac<Sha256>| (*key).clone().chain_update(bytes).verify_truncated_left(code).is_ok();
        Some(&self.current).filter(matches).or_else(|| self.previous.as_ref().filter(matches)).map(Veil)
    }

    /// What this program hides by.
    pub(super) fn veil(&self) -> Veil<'_> {
        Veil(&self.current)
    }
}

/// Hides the hashes of settings from those who listen without the key: a hash of something short, a password among the
/// arguments of a program, could be guessed.
#[derive(Clone, Copy)]
pub(super) struct Veil<'k>(&'k Hmac<Sha256>);

impl Veil<'_> {
    /// Hides a hash, or shows it again. In one life a node has one configuration, so that no two hashes are ever hidden by
    /// the same number.
    pub(super) fn over(self, hash: u64, sender: NodeId, incarnation: u64, path: &str) -> u64 {
        // No datagram begins like this, so it is never the code of one.
        let text = [b"vipdrift setting ".as_slice(), &sender.0.to_be_bytes(), &incarnation.to_be_bytes()];
        let keyed = text.iter().fold(self.0.clone(), |hmac, part| hmac.chain_update(part));
        hash ^ first_eight(&keyed.chain_update(path).finalize().into_bytes())
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
