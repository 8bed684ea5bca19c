//! Signs any body, so that a fuzzer gets behind the authentication code. Written after the documentation of the
//! format, without the help of the library.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use vipdrift_wire::heartbeat::Keys;

pub(crate) const CLUSTER: &str = "edge";
pub(crate) const SECRET: &[u8] = b"0123456789abcdef";

/// Made once: deriving a key takes as long as a few datagrams.
pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(CLUSTER, SECRET, None));
static SIGNING: LazyLock<Hmac<Sha256>> = LazyLock::new(|| {
    let label = format!("vipdrift heartbeat key 1\0{CLUSTER}");
    keyed(&keyed(SECRET).chain_update(label).finalize().into_bytes())
});

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

/// The datagram with this kind and body.
pub(crate) fn seal(kind_and_body: &[u8]) -> Vec<u8> {
    let tag = Sha256::digest(format!("vipdrift cluster\0{CLUSTER}"));
    let mut datagram = [b"vipd\x01", &tag[..4], kind_and_body].concat();
    let code = SIGNING.clone().chain_update(&datagram).finalize().into_bytes();
    datagram.extend_from_slice(&code[..16]);
    datagram
}
