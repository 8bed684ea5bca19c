//! What one process hands to another when it starts it: files and sockets, under numbers that both know.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A descriptor that closes when it is dropped.
pub type Owned = OwnedFd;

/// A descriptor that somebody else closes.
pub type Borrowed<'a> = BorrowedFd<'a>;

/// The number under which a child process finds what it [inherits](super::process::spawn).
pub type Number = RawFd;

/// Can be handed to a child process.
pub trait AsDescriptor {
    /// What is handed over.
    fn as_descriptor(&self) -> Borrowed<'_>;
}

impl<T: AsFd + ?Sized> AsDescriptor for T {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_fd()
    }
}

/// Under which number a child process finds it.
pub fn number(of: &(impl AsDescriptor + ?Sized)) -> Number {
    of.as_descriptor().as_raw_fd()
}
