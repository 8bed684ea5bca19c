//! The one read that is under way, and the memory that the system writes to meanwhile.

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_MORE_DATA, ERROR_OPERATION_ABORTED,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

use super::super::event::Event;
use super::{QUOTA, Received, code, is_end};

/// Longer than nearly all messages. Grows for one that is longer.
const USUAL: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was ever read.
    Idle,
    /// The system may write to the buffer and the operation at any time.
    UnderWay,
    /// The other end is closed.
    Closed,
    /// Reading fails, with this code.
    Failed(u32),
}

/// What a read has come to.
enum Step {
    Whole,
    Nothing,
    Ended,
}

pub(super) struct Reading {
    state: State,
    /// At an address of its own, which the system knows while the state is [`State::UnderWay`].
    operation: Box<OVERLAPPED>,
    buffer: Vec<u8>,
    /// So much of the buffer is the beginning of a message whose rest is still to be read.
    filled: usize,
    /// Read and thrown away of a message that is longer than any that can be sent.
    excess: usize,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading")
            .field("state", &self.state)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

// SAFETY: what is not Send by itself are the pointers of the operation, to the event, which belongs to the same owner, and
// to nothing else. The system does not mind which thread asks how the operation stands.
unsafe impl Send for Reading {}

impl Reading {
    pub(super) fn new() -> Self {
        // SAFETY: all-zero bytes are a valid OVERLAPPED: no offset, no event.
        let operation = Box::new(unsafe { std::mem::zeroed() });
        Self { state: State::Idle, operation, buffer: Vec::new(), filled: 0, excess: 0 }
    }

    /// Reads, if nothing was read before. From then on a read is under way for ever, or the event is set.
    pub(super) fn begin(&mut self, pipe: &OwnedHandle, event: &Event) {
        if self.state == State::Idle {
            self.read(pipe, event);
        }
    }

    /// Has the system read into what is free of the buffer. Not to be called while that is under way.
    fn read(&mut self, pipe: &OwnedHandle, event: &Event) {
        if self.buffer.len() < self.filled + USUAL {
            self.buffer.resize(self.filled + USUAL, 0);
        }
        let free = &mut self.buffer[self.filled..];
        let room = u32::try_from(free.len()).unwrap_or(u32::MAX);
        // SAFETY: all-zero bytes are a valid OVERLAPPED. The one that was there is no longer under way.
        *self.operation = unsafe { std::mem::zeroed() };
        self.operation.hEvent = event.as_handle().as_raw_handle();
        // SAFETY: pointer and length describe a part of the buffer, which is ours alone, and which is neither touched nor
        // moved while the state is UnderWay; the same holds for the operation in its box. `stop` waits for the end of both
        // before they are freed.
        let done = unsafe {
            ReadFile(pipe.as_raw_handle(), free.as_mut_ptr(), room, ptr::null_mut(), &raw mut *self.operation)
        };
        let code = if done == 0 { code(&io::Error::last_os_error()) } else { 0 };
        self.state = match code {
            // Over already or not, the system tells it by the operation and by the event.
            0 | ERROR_IO_PENDING | ERROR_MORE_DATA => State::UnderWay,
            end if is_end(end) => State::Closed,
            other => State::Failed(other),
        };
        if self.state != State::UnderWay || code == ERROR_MORE_DATA {
            event.set();
        }
    }

    /// How the read stands; what it has come to is in the buffer.
    fn step(&mut self, pipe: &OwnedHandle, event: &Event) -> Step {
        loop {
            if self.state != State::UnderWay {
                return Step::Ended;
            }
            let mut count = 0;
            // SAFETY: the operation was begun on this handle; the system writes to `count` only, and does not wait.
            let done = unsafe {
                GetOverlappedResult(pipe.as_raw_handle(), &raw const *self.operation, &raw mut count, 0)
            };
            let code = if done == 0 { code(&io::Error::last_os_error()) } else { 0 };
            match code {
                0 => {
                    self.filled += count as usize;
                    // Nobody sends empty ones.
                    if self.filled + self.excess > 0 {
                        return Step::Whole;
                    }
                    self.read(pipe, event);
                }
                ERROR_IO_INCOMPLETE => return Step::Nothing,
                // The beginning of a long message; the rest of it is there.
                ERROR_MORE_DATA => {
                    self.filled += count as usize;
                    if self.filled > QUOTA as usize {
                        self.excess += self.filled;
                        self.filled = 0;
                    }
                    let larger = (self.buffer.len() * 2).min(QUOTA as usize + USUAL);
                    self.buffer.resize(larger.max(self.buffer.len()), 0);
                    self.read(pipe, event);
                }
                // The thread that began it has ended, or somebody has called it off: nothing was read.
                ERROR_OPERATION_ABORTED => self.read(pipe, event),
                end => {
                    self.state = if is_end(end) { State::Closed } else { State::Failed(end) };
                    event.set();
                }
            }
        }
    }

    /// Takes the next message, and reads on.
    pub(super) fn take(
        &mut self,
        pipe: &OwnedHandle,
        event: &Event,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        self.begin(pipe, event);
        match self.step(pipe, event) {
            Step::Nothing => Ok(Received::Empty),
            Step::Ended => match self.state {
                State::Failed(code) => Err(io::Error::from_raw_os_error(code.cast_signed())),
                _ => Ok(Received::Closed),
            },
            Step::Whole => {
                let length = self.filled + self.excess;
                let fits = self.excess == 0 && length <= buffer.len();
                if fits {
                    buffer[..length].copy_from_slice(&self.buffer[..length]);
                }
                (self.filled, self.excess) = (0, 0);
                self.read(pipe, event);
                if fits {
                    Ok(Received::Message(length))
                } else {
                    Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")))
                }
            }
        }
    }

    /// Ends the read that is under way, and waits until the system has done with its memory.
    pub(super) fn stop(&mut self, pipe: &OwnedHandle) {
        if self.state != State::UnderWay {
            return;
        }
        let mut count = 0;
        // SAFETY: the operation was begun on this handle. Called off, it is over at once; one that was over before has
        // nothing to be called off.
        unsafe {
            CancelIoEx(pipe.as_raw_handle(), &raw const *self.operation);
            GetOverlappedResult(pipe.as_raw_handle(), &raw const *self.operation, &raw mut count, 1);
        }
        self.state = State::Closed;
    }
}
