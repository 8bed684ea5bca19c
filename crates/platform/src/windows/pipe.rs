//! Messages between two processes of one machine (a named pipe of message type with a name that nobody else knows): whole,
//! in order, with a clear end.
//!
//! An end reads ahead, one message at most: a read that is under way is what makes it possible to wait. The first read
//! begins with the first [`MessagePipe::receive`] or when it is first waited for; an end that is held only to be handed to
//! children never reads. What a process has read ahead and not taken is lost with it, like what it has taken.

mod reading;

use std::io;
use std::os::windows::io::{
    AsHandle as _, AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle, RawHandle,
};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_NOT_CONNECTED,
    GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, GetNamedPipeClientProcessId, PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE, SetNamedPipeHandleState,
};

use self::reading::Reading;
use super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::event::Event;
use super::poll::{Source, Waitable};
use super::security::Descriptor;
use super::text::wide;

/// Room for a few of the largest messages, each way. Memory is used only for what waits in it.
const QUOTA: u32 = 4 << 20;

/// What [`MessagePipe::receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A message of so many bytes.
    Message(usize),
    /// Nothing now.
    Empty,
    /// The other end is closed (its process died, or dropped it) and all it ever said has been read.
    Closed,
}

/// One end of a pipe in both directions that never blocks.
#[derive(Debug)]
pub struct MessagePipe {
    reading: Mutex<Reading>,
    /// Set while there is something to receive. `None`: there was no memory for it; receiving says so.
    readable: Option<Event>,
    /// For the one write at a time.
    writing: Mutex<Option<Event>>,
    handle: OwnedHandle,
}

/// Two connected ends.
///
/// # Errors
/// No handles or memory left; [`io::ErrorKind::PermissionDenied`]: somebody else got hold of the other end first. Nothing
/// is left behind.
pub fn pair() -> io::Result<(MessagePipe, MessagePipe)> {
    let name = wide(unheard_name());
    let descriptor = Descriptor::owner_only(false)?;
    let attributes = descriptor.attributes();
    // SAFETY: the name ends with zero; it, the attributes and what they point to live across the call.
    let raw = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE | PIPE_REJECT_REMOTE_CLIENTS,
            1,
            QUOTA,
            QUOTA,
            0,
            &raw const attributes,
        )
    };
    let left = own(raw)?;
    // SAFETY: the name ends with zero and lives across the call.
    let raw = unsafe {
        CreateFileW(
            name.as_ptr(),
            GENERIC_READ | GENERIC_WRITE,
            0,
            ptr::null(),
            OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS,
            ptr::null_mut(),
        )
    };
    let right = own(raw)?;
    let mode = PIPE_READMODE_MESSAGE;
    // SAFETY: the handle is open, and the system reads the mode only.
    let set =
        unsafe { SetNamedPipeHandleState(right.as_raw_handle(), &raw const mode, ptr::null(), ptr::null()) };
    if set == 0 {
        return Err(io::Error::last_os_error());
    }
    let mut client = 0;
    // SAFETY: the handle is open, and the system writes to `client` only.
    if unsafe { GetNamedPipeClientProcessId(left.as_raw_handle(), &raw mut client) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // There is one instance, so if the other end is ours, nobody else has one.
    if client != std::process::id() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok((MessagePipe::new(left), MessagePipe::new(right)))
}

/// A name that was not there before. It need not be secret: see [`pair`].
fn unheard_name() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let random = || RandomState::new().build_hasher().finish();
    format!(r"\\.\pipe\vipdrift-{}-{:016x}{:016x}", std::process::id(), random(), random())
}

fn own(raw: RawHandle) -> io::Result<OwnedHandle> {
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us; nobody else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// The other end is closed.
fn is_end(code: u32) -> bool {
    matches!(code, ERROR_BROKEN_PIPE | ERROR_PIPE_NOT_CONNECTED | ERROR_NO_DATA)
}

fn code(error: &io::Error) -> u32 {
    error.raw_os_error().unwrap_or(0).cast_unsigned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MessagePipe {
    fn new(handle: OwnedHandle) -> Self {
        Self {
            reading: Mutex::new(Reading::new()),
            readable: Event::new().ok(),
            writing: Mutex::new(None),
            handle,
        }
    }

    /// Sends one whole message. 200 KiB always fit an empty pipe.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: the other side does not read and the pipe is full;
    /// [`io::ErrorKind::BrokenPipe`]: the other end is closed; [`io::ErrorKind::InvalidInput`]: an empty message, which
    /// would look like the end, or one that is larger than the pipe. Nothing was sent.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        if message.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message must not be empty"));
        }
        let length =
            u32::try_from(message.len()).ok().filter(|length| *length <= QUOTA).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, "the message is larger than the pipe")
            })?;
        let mut writing = lock(&self.writing);
        let event = match &mut *writing {
            Some(event) => event,
            none => none.insert(Event::new()?),
        };
        let handle = self.handle.as_raw_handle();
        // SAFETY: all-zero bytes are a valid OVERLAPPED: no offset, no event.
        let mut operation: OVERLAPPED = unsafe { std::mem::zeroed() };
        operation.hEvent = event.as_handle().as_raw_handle();
        // SAFETY: pointer and length describe `message`, which the system only reads; it and `operation` live until the
        // operation is over, which is before this function returns.
        let written =
            unsafe { WriteFile(handle, message.as_ptr(), length, ptr::null_mut(), &raw mut operation) };
        if written != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match code(&error) {
            ERROR_IO_PENDING => {}
            code if is_end(code) => return Err(io::ErrorKind::BrokenPipe.into()),
            _ => return Err(error),
        }
        // There is no room for it now. It is taken back, unless it has been read meanwhile: what is said is in the pipe,
        // or is not said.
        // SAFETY: the operation is one of this handle's. That it is over already is no error that matters.
        unsafe { CancelIoEx(handle, &raw const operation) };
        let mut count = 0;
        // SAFETY: as above; waits until the system is done with `operation` and the message, which after the above it is at
        // once.
        if unsafe { GetOverlappedResult(handle, &raw const operation, &raw mut count, 1) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(match code(&error) {
            ERROR_OPERATION_ABORTED => io::ErrorKind::WouldBlock.into(),
            code if is_end(code) => io::ErrorKind::BrokenPipe.into(),
            _ => error,
        })
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`]: the message is longer than `buffer`; it is lost. Other errors are faults of the
    /// pipe.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let event = self.readable.as_ref().ok_or(io::ErrorKind::OutOfMemory)?;
        lock(&self.reading).take(&self.handle, event, buffer)
    }
}

impl Drop for MessagePipe {
    fn drop(&mut self) {
        lock(&self.reading).stop(&self.handle);
    }
}

impl Waitable for MessagePipe {
    fn waitable(&self) -> Source<'_> {
        match &self.readable {
            Some(event) => {
                lock(&self.reading).begin(&self.handle, event);
                Source::Object(event.as_handle())
            }
            None => Source::Nothing,
        }
    }
}

impl AsDescriptor for MessagePipe {
    fn as_descriptor(&self) -> Borrowed<'_> {
        let handle: BorrowedHandle<'_> = self.handle.as_handle();
        handle.into()
    }
}

impl From<Owned> for MessagePipe {
    /// Takes over an end made by [`pair`], here or in the parent process.
    fn from(owned: Owned) -> Self {
        Self::new(owned.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_both_ways() {
        let (left, right) = pair().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Empty);
        left.send(b"one").unwrap();
        left.send(b"three").unwrap();
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(3));
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(5));
        right.send(b"back").unwrap();
        assert_eq!(left.receive(&mut buffer).unwrap(), Received::Message(4));
    }

    #[test]
    fn two_hundred_kilobytes_are_one_message() {
        let (left, right) = pair().unwrap();
        let message: Vec<u8> =
            (0..200 * 1024).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        left.send(&message).unwrap();
        let mut buffer = vec![0; message.len()];
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(message.len()));
        assert!(buffer == message);
        // The other way round: the read is there before the message.
        let mut buffer = vec![0; message.len()];
        assert_eq!(left.receive(&mut buffer).unwrap(), Received::Empty);
        right.send(&message).unwrap();
        right.send(b"next").unwrap();
        assert_eq!(left.receive(&mut buffer).unwrap(), Received::Message(message.len()));
        assert!(buffer == message);
        assert_eq!(left.receive(&mut buffer).unwrap(), Received::Message(4));
    }

    #[test]
    fn the_last_words_come_before_the_end() {
        let (left, right) = pair().unwrap();
        let mut buffer = [0; 16];
        right.send(b"unread").unwrap();
        left.send(b"last words").unwrap();
        drop(left);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(10));
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Closed);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Closed);
        assert_eq!(right.send(b"anybody?").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_pipe_an_empty_and_a_long_message_are_errors() {
        let (left, right) = pair().unwrap();
        assert_eq!(left.send(b"").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let larger = vec![1; QUOTA as usize + 1];
        assert_eq!(left.send(&larger).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        left.send(&[1; 17]).unwrap();
        left.send(b"next").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(right.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(4));
        let full = (0..1_000_000).find_map(|_| left.send(&[0; 4096]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_full_pipe_takes_more_when_something_was_read_and_loses_nothing() {
        let (left, right) = pair().unwrap();
        let mut said = 0u32;
        let mut say = || {
            let mut message = [0; 4096];
            message[..4].copy_from_slice(&said.to_le_bytes());
            left.send(&message).map(|()| said += 1)
        };
        while say().is_ok() {}
        let mut buffer = [0; 4096];
        let mut heard = 0u32;
        for _ in 0..5 {
            assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(4096));
            assert_eq!(buffer[..4], heard.to_le_bytes());
            heard += 1;
            say().unwrap();
        }
        // One more fits, since one was read ahead.
        assert_eq!((0..2).find_map(|_| say().err()).unwrap().kind(), io::ErrorKind::WouldBlock);
        while right.receive(&mut buffer).unwrap() != Received::Empty {
            assert_eq!(buffer[..4], heard.to_le_bytes());
            heard += 1;
        }
        assert_eq!(heard, said);
    }

    #[test]
    fn an_end_that_only_waits_to_be_handed_over_leaves_all_to_the_next_owner() {
        let (left, right) = pair().unwrap();
        let mut buffer = [0; 16];
        // This one has begun to read.
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Empty);
        let right = MessagePipe::from(Owned::from(right.handle.try_clone().unwrap()));
        left.send(b"first").unwrap();
        left.send(b"second").unwrap();
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(6), "the first was read ahead");
    }

    #[test]
    fn what_a_thread_that_has_ended_began_to_read_is_read_again() {
        let (left, right) = pair().unwrap();
        let right = std::thread::spawn(move || {
            assert_eq!(right.receive(&mut [0; 16]).unwrap(), Received::Empty);
            right
        })
        .join()
        .unwrap();
        left.send(b"here").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(right.receive(&mut buffer).unwrap(), Received::Message(4));
    }
}
