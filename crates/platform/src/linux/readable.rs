//! Waiting for a descriptor in a tokio runtime, where that is not a thread's own business as in [`poll`](super::poll).

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::poll::Waitable;

/// A descriptor that can be waited for: a pidfd until its process has ended, a socket until something waits.
#[derive(Debug)]
pub struct Readable {
    fd: AsyncFd<OwnedFd>,
}

impl Readable {
    /// To be called within a runtime that has its I/O driver enabled. Sockets have to be non-blocking.
    ///
    /// # Errors
    /// The descriptor cannot be waited for (a regular file), or no memory is left. It is closed.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` refers to one open file description for as long as it lives and answers always the same
        // number, and `AsyncFd`, which is private here, gives it to nobody.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Self { fd: fd.map_err(|error| error.into_parts().1)? })
    }

    /// As [`Readable::new`], for something that is also used otherwise.
    ///
    /// # Errors
    /// As there; or no descriptors are left.
    pub fn of(what: &(impl Waitable + ?Sized)) -> io::Result<Self> {
        Self::new(what.waitable().try_clone_to_owned()?)
    }

    /// Waits until it is readable, and is so again at the next call: for what stays readable.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn stays(&self) -> io::Result<()> {
        self.fd.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Waits until it has become readable. The caller then reads all that is there.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn becomes(&self) -> io::Result<()> {
        self.fd.readable().await.map(|mut guard| guard.clear_ready())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn told_once_for_what_is_read_and_again_for_what_stays() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let readable = Readable::new(near.try_clone().unwrap().into()).unwrap();
        let soon = Duration::from_millis(30);
        assert!(tokio::time::timeout(soon, readable.becomes()).await.is_err(), "nothing is there");
        far.write_all(b"x").unwrap();
        readable.stays().await.unwrap();
        readable.stays().await.unwrap();
        readable.becomes().await.unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert!(tokio::time::timeout(soon, readable.becomes()).await.is_err(), "it has been read");
    }
}
