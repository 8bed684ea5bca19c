//! What worker threads hand over: things in order, and an event that is set while there are any.

use std::collections::VecDeque;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event::Event;

/// The things that wait, each once: one that is the same as one that waits already is not kept twice, so nothing
/// grows without end while nobody reads.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    waiting: Mutex<VecDeque<T>>,
    event: Event,
}

impl<T: PartialEq> Mailbox<T> {
    pub(super) fn new(event: Event) -> Self {
        Self { waiting: Mutex::default(), event }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, thing: T) {
        let mut waiting = self.lock();
        if !waiting.contains(&thing) {
            waiting.push_back(thing);
        }
        // Under the lock, or `take` might reset what was just set.
        self.event.set();
    }

    /// The same, unless so many wait already.
    pub(super) fn put_if_room(&self, thing: T, most: usize) {
        if self.lock().len() < most {
            self.put(thing);
        }
    }

    pub(super) fn take(&self) -> Option<T> {
        let mut waiting = self.lock();
        let thing = waiting.pop_front();
        // Also when there was none: an earlier owner of the event may have left it set.
        if waiting.is_empty() {
            self.event.reset();
        }
        thing
    }
}

impl<T> AsHandle for Mailbox<T> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.event.as_handle()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_event_is_set_while_something_waits() {
        let event = Event::new().unwrap();
        event.set();
        let mailbox = Mailbox::new(event);
        let ready = |mailbox: &Mailbox<u8>| mailbox.event.wait(Duration::ZERO);
        assert_eq!(mailbox.take(), None);
        assert!(!ready(&mailbox), "what an earlier owner left is taken back");
        mailbox.put(1);
        mailbox.put(2);
        mailbox.put(1);
        assert_eq!(mailbox.take(), Some(1));
        assert!(ready(&mailbox));
        assert_eq!(mailbox.take(), Some(2));
        assert!(!ready(&mailbox), "the same thing is not kept twice");
        mailbox.put_if_room(1, 1);
        mailbox.put_if_room(2, 1);
        assert_eq!((mailbox.take(), mailbox.take()), (Some(1), None));
    }
}
