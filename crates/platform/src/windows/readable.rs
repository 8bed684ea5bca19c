//! Waiting for an object in a tokio runtime, where that is not a thread's own business as in [`poll`](super::poll).

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr;
use std::sync::Arc;

use std::ffi::c_void;

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
    WaitForSingleObject,
};

use super::descriptor::Owned;
use super::poll::{Source, Waitable};

/// An object that can be waited for: a process until it has ended, an event until it is set.
#[derive(Debug)]
pub struct Readable {
    object: OwnedHandle,
}

impl Readable {
    /// To be used in a runtime of tokio's. Not for sockets.
    ///
    /// # Errors
    /// The handle cannot be waited for. It is closed.
    pub fn new(owned: Owned) -> io::Result<Self> {
        let readable = Self { object: owned.into() };
        readable.is_now()?;
        Ok(readable)
    }

    /// As [`Readable::new`], for something that is also used otherwise.
    ///
    /// # Errors
    /// As there; [`io::ErrorKind::Unsupported`]: it is a socket; or no handles are left.
    pub fn of(what: &(impl Waitable + ?Sized)) -> io::Result<Self> {
        match what.waitable() {
            Source::Object(handle) => Self::new(handle.try_clone_to_owned()?.into()),
            Source::Socket(_) => Err(io::ErrorKind::Unsupported.into()),
            Source::Nothing => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// Waits until it is readable, and is so again at the next call: for what stays readable.
    ///
    /// # Errors
    /// The system has no thread to wait with.
    pub async fn stays(&self) -> io::Result<()> {
        while !self.is_now()? {
            let told = Arc::new(Notify::new());
            let _wait = Wait::begin(&self.object, &told)?;
            told.notified().await;
        }
        Ok(())
    }

    /// Waits until it has become readable. The caller then reads all that is there: what is not read is told again.
    ///
    /// # Errors
    /// As [`Readable::stays`].
    pub async fn becomes(&self) -> io::Result<()> {
        self.stays().await
    }

    fn is_now(&self) -> io::Result<bool> {
        // SAFETY: the handle is ours and open; does not wait.
        match unsafe { WaitForSingleObject(self.object.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_FAILED => Err(io::Error::last_os_error()),
            _ => Ok(false),
        }
    }
}

/// A thread of the system's waits, and tells it once. No longer than this lives.
struct Wait {
    handle: HANDLE,
    told: *const Notify,
}

// SAFETY: both pointers mean the same in all threads: a handle, and what is shared by an `Arc` of something that is Sync.
unsafe impl Send for Wait {}

impl Wait {
    fn begin(object: &OwnedHandle, told: &Arc<Notify>) -> io::Result<Self> {
        let told = Arc::into_raw(Arc::clone(told));
        let mut handle = ptr::null_mut();
        let flags = WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE;
        // SAFETY: the object is open for longer than this lives; the callback is given a pointer that is valid until
        // `drop`, which waits for the callback.
        let begun = unsafe {
            RegisterWaitForSingleObject(
                &raw mut handle,
                object.as_raw_handle(),
                Some(tell),
                told.cast(),
                INFINITE,
                flags,
            )
        };
        if begun == 0 {
            let error = io::Error::last_os_error();
            // SAFETY: made above, and nobody else has it.
            drop(unsafe { Arc::from_raw(told) });
            return Err(error);
        }
        Ok(Self { handle, told })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // SAFETY: begun by `begin`, ended once; waits for a callback that runs, which itself waits for nothing.
        unsafe { UnregisterWaitEx(self.handle, INVALID_HANDLE_VALUE) };
        // SAFETY: made by `begin`, and the callback is over.
        drop(unsafe { Arc::from_raw(self.told) });
    }
}

/// Called by a thread of the system's.
unsafe extern "system" fn tell(told: *mut c_void, _timed_out: bool) {
    // SAFETY: `Wait` keeps it until this is over.
    unsafe { &*told.cast::<Notify>() }.notify_one();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::poll::Wake;
    use super::*;

    #[tokio::test]
    async fn told_once_for_what_is_read_and_again_for_what_stays() {
        let wake = Wake::new().unwrap();
        let readable = Readable::of(&wake).unwrap();
        let soon = Duration::from_millis(30);
        assert!(tokio::time::timeout(soon, readable.becomes()).await.is_err(), "nothing is there");
        wake.wake();
        readable.stays().await.unwrap();
        readable.stays().await.unwrap();
        readable.becomes().await.unwrap();
        wake.clear();
        assert!(tokio::time::timeout(soon, readable.becomes()).await.is_err(), "it has been read");
        let (woken, ()) = tokio::join!(readable.becomes(), async {
            tokio::time::sleep(soon).await;
            wake.wake();
        });
        woken.unwrap();
    }

    #[tokio::test]
    async fn a_message_is_told() {
        let (left, right) = super::super::pipe::pair().unwrap();
        let readable = Readable::of(&right).unwrap();
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, readable.becomes()).await.is_err());
        left.send(b"here").unwrap();
        readable.becomes().await.unwrap();
    }
}
