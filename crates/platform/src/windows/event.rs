//! A manual-reset event: set until it is reset, for as many as wait for it.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent, WaitForSingleObject};

/// The event. May be shared with other processes by its handle.
#[derive(Debug)]
pub(super) struct Event {
    handle: OwnedHandle,
}

impl Event {
    /// One that is not set.
    ///
    /// # Errors
    /// No memory left.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no security attributes and no name; the numbers say manual reset, not set.
        let raw = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just made for us; nobody else owns it.
        Ok(Self { handle: unsafe { OwnedHandle::from_raw_handle(raw) } })
    }

    /// Wakes whoever waits.
    pub(super) fn set(&self) {
        // SAFETY: the handle is ours and open. It cannot fail for an event that may be modified.
        let _ = unsafe { SetEvent(self.handle.as_raw_handle()) };
    }

    /// Takes it back.
    pub(super) fn reset(&self) {
        // SAFETY: as above.
        let _ = unsafe { ResetEvent(self.handle.as_raw_handle()) };
    }

    /// Waits until it is set, for so long at most (rounded up to milliseconds). Answers whether it is.
    pub(super) fn wait(&self, long: Duration) -> bool {
        let millis = u32::try_from(long.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX - 1);
        // SAFETY: as above.
        unsafe { WaitForSingleObject(self.handle.as_raw_handle(), millis) == WAIT_OBJECT_0 }
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

impl From<OwnedHandle> for Event {
    /// Takes over a manual-reset event, made here or in the parent process.
    fn from(handle: OwnedHandle) -> Self {
        Self { handle }
    }
}

impl From<Event> for OwnedHandle {
    fn from(event: Event) -> Self {
        event.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_until_reset() {
        let event = Event::new().unwrap();
        assert!(!event.wait(Duration::ZERO));
        event.set();
        assert!(event.wait(Duration::ZERO) && event.wait(Duration::ZERO));
        event.reset();
        assert!(!event.wait(Duration::from_millis(1)));
    }
}
