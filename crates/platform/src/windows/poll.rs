//! Waiting for many things at once (WaitForMultipleObjects), and the things to wait for besides sockets and pipes: timers,
//! wake-ups, signals.

mod poller;
mod signals;
mod timer;
mod wake;

use std::net::UdpSocket;
use std::os::windows::io::{AsSocket as _, BorrowedHandle, BorrowedSocket};

pub use self::poller::{Poller, Ready};
pub use self::signals::{Signal, Signals, request};
pub(super) use self::signals::{console_ends, has_console, hold};
pub use self::timer::Timer;
pub use self::wake::Wake;

/// What a [`Poller`] looks at.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Ready while this object is signalled. Waiting must not change that: a manual-reset event or timer, a process.
    Object(BorrowedHandle<'a>),
    /// Ready while something can be received from this socket, which does not block.
    Socket(BorrowedSocket<'a>),
    /// There is nothing to look at, since there was no memory for it.
    Nothing,
}

/// Something that a [`Poller`] can wait for.
pub trait Waitable {
    /// What it waits for.
    fn waitable(&self) -> Source<'_>;
}

impl<T: Waitable + ?Sized> Waitable for &T {
    fn waitable(&self) -> Source<'_> {
        (**self).waitable()
    }
}

impl Waitable for UdpSocket {
    fn waitable(&self) -> Source<'_> {
        Source::Socket(self.as_socket())
    }
}

#[cfg(test)]
mod tests;
