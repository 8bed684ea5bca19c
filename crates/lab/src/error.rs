//! What can go wrong while a lab is built or used.

use std::io;

/// Why an operation of the lab failed.
///
/// The lab undoes nothing on an error: what had been made before it stays until the enclosure ends, and nothing
/// ever reaches past the enclosure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// [`Lab::new`](crate::Lab::new) was called outside an enclosure: it would have touched the machine's own network.
    #[error("not inside an enclosure: call enclose() first, at the start of main")]
    NotEnclosed,
    /// The kernel refused a request.
    #[error("{what}: {source}")]
    Kernel {
        /// What was being done, in words.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Text that should have been an address with a prefix length (`192.0.2.1/24`).
    #[error("`{0}` is not an address with a prefix length, such as 192.0.2.1/24")]
    Address(String),
    /// A name that is taken, unknown, or does not fit into an interface name.
    #[error("{0}")]
    Name(String),
    /// The operation does not fit the state that the host is in.
    #[error("{host} is {state}")]
    State {
        /// Name of the host.
        host: String,
        /// What it is, in words.
        state: &'static str,
    },
    /// What runs Windows programs is not there.
    #[error("{variable} is not set: run `cargo xtask cross-check`, which sets it to what it has made")]
    Wine {
        /// The variable that should say where it is.
        variable: &'static str,
    },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Says what was being done when the kernel refused.
pub(crate) trait While<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> While<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Kernel { what: what(), source: error.into() })
    }
}
