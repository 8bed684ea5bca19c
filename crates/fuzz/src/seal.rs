//! Signs any body, so that a fuzzer gets behind the authentication code. Written after the documentation of the
//! format, without the help of the library.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use vipdrift_wire::heartbeat::Keys;

pub(crate) const CLUSTER: &str = "edge";
pub(crate) const SECRET: &[u8] = b"0123456789abcdef";

pub(crate) fn keys() -> Keys {
    Keys::new(CLUSTER, SECRET, None)
}

/// The datagram with this kind and body.
pub(crate) fn seal(kind_and_body: &[u8]) -> Vec<u8> {
    let hmac = |key: &[u8], text: &[u8]| {
        Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(text).finalize().into_bytes()
    };
    let tag = Sha256::digest(format!("vipdrift cluster\0{CLUSTER}"));
    let mut datagram = [b"vipd\x01", &tag[..4], kind_and_body].concat();
    let key = hmac(SECRET, format!("vipdrift heartbeat key 1\0{CLUSTER}").as_bytes());
    let code = hmac(&key, &datagram);
    datagram.extend_from_slice(&code[..16]);
    datagram
}
