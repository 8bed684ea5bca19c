//! A wake-up from another thread.

use std::io;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::time::Duration;

use super::super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::super::event::Event;
use super::{Source, Waitable};

/// Wakes a poller from another thread (CreateEventW). Readable from [`Wake::wake`] until [`Wake::clear`].
#[derive(Debug)]
pub struct Wake {
    event: Event,
}

impl Wake {
    /// A wake-up that is not pending.
    ///
    /// # Errors
    /// No handles or memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: Event::new()? })
    }

    /// Makes it readable. Never blocks; many calls count as one.
    pub fn wake(&self) {
        self.event.set();
    }

    /// Makes it not readable; whether it was. To be called by one thread: then no wake-up is lost, since one that comes
    /// between looking and clearing counts as one with that which was seen.
    pub fn clear(&self) -> bool {
        let pending = self.event.wait(Duration::ZERO);
        if pending {
            self.event.reset();
        }
        pending
    }
}

impl Waitable for Wake {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.event.as_handle())
    }
}

impl AsDescriptor for Wake {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.event.as_handle().into()
    }
}

impl From<Owned> for Wake {
    /// Takes over a manual-reset event.
    fn from(owned: Owned) -> Self {
        Self { event: OwnedHandle::from(owned).into() }
    }
}
