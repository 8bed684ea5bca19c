//! The list of things that are waited for.

use std::cell::RefCell;
use std::io;
use std::os::windows::io::{
    AsHandle as _, AsRawHandle as _, AsRawSocket as _, BorrowedHandle, BorrowedSocket, OwnedHandle,
};
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::Networking::WinSock::{
    FD_CLOSE, FD_READ, POLLRDNORM, SOCKET, WSAEnumNetworkEvents, WSAEventSelect, WSAGetLastError,
    WSANETWORKEVENTS, WSAPOLLFD, WSAPoll,
};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects};

use super::super::event::Event;
use super::super::library;
use super::{Source, Waitable};

/// Most things that one [`Poller`] waits for: one less than the system can (MAXIMUM_WAIT_OBJECTS).
const MOST: usize = 63;

/// One thing that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// What was said in [`Poller::add`].
    pub token: u64,
    /// Something can be read (a closed peer counts: reading says so).
    pub readable: bool,
    /// The other side of a connected socket hung up. Of all else reading tells it.
    pub closed: bool,
}

/// Waits for things to become readable, 63 at most. Level-triggered: what was not read is told again. After one of them all
/// others are looked at, so nobody is kept waiting by those before him in the list.
#[derive(Debug)]
pub struct Poller {
    entries: RefCell<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    token: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    /// An object under the handle of whoever owns it, and under one of our own, which means the same whatever becomes of the
    /// other.
    Object { theirs: usize, ours: OwnedHandle },
    /// `told`: it was readable, and may still be.
    Socket { socket: SOCKET, event: Event, told: bool },
}

impl What {
    fn is_at(&self, source: &Source<'_>) -> bool {
        match (self, source) {
            (Self::Object { theirs, .. }, Source::Object(handle)) => {
                *theirs == handle.as_raw_handle() as usize
            }
            (Self::Socket { socket, .. }, Source::Socket(other)) => *socket == raw(*other),
            _ => false,
        }
    }

    /// The owner has closed it for good.
    fn is_stale(&self) -> bool {
        match self {
            Self::Object { theirs, ours } => !same(*theirs as HANDLE, ours.as_raw_handle()),
            Self::Socket { .. } => false,
        }
    }

    fn handle(&self) -> HANDLE {
        match self {
            Self::Object { ours, .. } => ours.as_raw_handle(),
            Self::Socket { event, .. } => event.as_handle().as_raw_handle(),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a handle, as wide as a pointer")]
fn raw(socket: BorrowedSocket<'_>) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// Both handles are of one object (CompareObjectHandles). Where the system cannot say, they are taken to be.
fn same(first: HANDLE, second: HANDLE) -> bool {
    type Compare = unsafe extern "system" fn(HANDLE, HANDLE) -> i32;
    static COMPARE: OnceLock<Option<Compare>> = OnceLock::new();
    let compare = COMPARE.get_or_init(|| {
        let found = library::find("kernelbase.dll", c"CompareObjectHandles")?;
        // SAFETY: the function has this type (handleapi.h).
        Some(unsafe { std::mem::transmute::<*const std::ffi::c_void, Compare>(found) })
    });
    // SAFETY: compares what two numbers mean in this process, whatever they are.
    compare.is_none_or(|compare| unsafe { compare(first, second) } != 0)
}

impl Poller {
    /// A poller that waits for nothing yet.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> io::Result<Self> {
        Ok(Self { entries: RefCell::default() })
    }

    /// Waits for `what` to become readable from now on; told as `token`. Forgotten when `what` is closed for good. A socket
    /// can be in one poller only, the last one of whatever process.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: added before (a socket is told as the new `token` then, instead);
    /// [`io::ErrorKind::QuotaExceeded`]: this poller waits for as many things as it can; no handles are left.
    pub fn add(&self, what: &(impl Waitable + ?Sized), token: u64) -> io::Result<()> {
        let source = what.waitable();
        let mut entries = self.entries.borrow_mut();
        entries.retain(|entry| !entry.what.is_stale());
        let known = entries.iter().position(|entry| entry.what.is_at(&source));
        if entries.len() >= MOST && known.is_none() {
            let text = "63 things are waited for already, and the system allows no more";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        let what = match source {
            Source::Object(_) if known.is_some() => return Err(io::ErrorKind::AlreadyExists.into()),
            Source::Object(handle) => object(handle)?,
            Source::Socket(socket) => select(socket)?,
            Source::Nothing => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        let entry = Entry { token, what };
        match known {
            // The number of a socket that was closed may be given to another one.
            Some(at) => entries[at] = entry,
            None => entries.push(entry),
        }
        Ok(())
    }

    /// Waits for `what` no longer.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`]: it was not added.
    pub fn remove(&self, what: &(impl Waitable + ?Sized)) -> io::Result<()> {
        let source = what.waitable();
        let mut entries = self.entries.borrow_mut();
        let known = entries.iter().position(|entry| entry.what.is_at(&source));
        let entry = entries.remove(known.ok_or(io::ErrorKind::NotFound)?);
        if let What::Socket { socket, .. } = entry.what {
            // SAFETY: `what` lives, so the socket is open; a null event and zero end what `select` began.
            unsafe { WSAEventSelect(socket, 0, 0) };
        }
        Ok(())
    }

    /// Waits until something is ready or `timeout` is over (rounded up to milliseconds, and late by as much as the system's
    /// tick, see [`realtime`](crate::realtime); `None` = for ever; for precise moments add a [`Timer`](super::Timer)).
    /// Replaces the contents of `ready`; left empty after a timeout, or when what was ready has been closed.
    ///
    /// # Errors
    /// Faults of the poller itself.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut entries = self.entries.borrow_mut();
        for entry in &mut *entries {
            if let What::Socket { socket, told, .. } = &mut entry.what
                && *told
            {
                // A socket tells of what has come since it was last read. What was there and was not read is found so.
                *told = can_be_read(*socket);
                if *told {
                    ready.push(Ready { token: entry.token, readable: true, closed: false });
                }
            }
        }
        let told = ready.len();
        let mut wait = if told > 0 { 0 } else { millis(timeout) };
        let mut handles = [std::ptr::null_mut(); MOST];
        for (handle, entry) in handles.iter_mut().zip(&*entries) {
            *handle = entry.what.handle();
        }
        if entries.is_empty() {
            match timeout {
                Some(timeout) => std::thread::sleep(timeout),
                None => loop {
                    std::thread::park();
                },
            }
            return Ok(());
        }
        let mut next = 0;
        let mut stale = false;
        while next < entries.len() {
            let Some(found) = first(&handles[next..entries.len()], wait)? else { break };
            wait = 0;
            let entry = &mut entries[next + found];
            next += found + 1;
            match look(entry) {
                Look::Ready(one) if ready[..told].iter().all(|other| other.token != one.token) => {
                    ready.push(one);
                }
                Look::Ready(_) | Look::Nothing => {}
                Look::Gone => stale = true,
            }
        }
        if stale {
            entries.retain(|entry| match &entry.what {
                What::Socket { socket, .. } => super::super::winsock::is_socket(*socket),
                What::Object { .. } => !entry.what.is_stale(),
            });
        }
        Ok(())
    }
}

fn object(handle: BorrowedHandle<'_>) -> io::Result<What> {
    let ours = handle.try_clone_to_owned()?;
    Ok(What::Object { theirs: handle.as_raw_handle() as usize, ours })
}

fn select(socket: BorrowedSocket<'_>) -> io::Result<What> {
    let (socket, event) = (raw(socket), Event::new()?);
    let what = (FD_READ | FD_CLOSE).cast_signed();
    // SAFETY: the socket and the event are open. The system keeps a reference of its own to the event.
    if unsafe { WSAEventSelect(socket, event.as_handle().as_raw_handle() as isize, what) } != 0 {
        return Err(last());
    }
    Ok(What::Socket { socket, event, told: false })
}

fn last() -> io::Error {
    // SAFETY: takes no pointer.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

/// Rounded up; less than for ever unless that was meant.
fn millis(timeout: Option<Duration>) -> u32 {
    timeout.map_or(INFINITE, |timeout| {
        u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).min(INFINITE - 1)
    })
}

/// Waits for the first of these that is signalled; its position.
fn first(handles: &[HANDLE], millis: u32) -> io::Result<Option<usize>> {
    let count = u32::try_from(handles.len()).unwrap_or(u32::MAX);
    // SAFETY: pointer and count describe `handles`, all of which are open: they are the poller's own.
    match unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, millis) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        signalled => Ok(Some((signalled - WAIT_OBJECT_0) as usize)),
    }
}

enum Look {
    Ready(Ready),
    Nothing,
    Gone,
}

/// What has become of a thing that is signalled.
fn look(entry: &mut Entry) -> Look {
    let token = entry.token;
    if entry.what.is_stale() {
        return Look::Gone;
    }
    let What::Socket { socket, event, told } = &mut entry.what else {
        return Look::Ready(Ready { token, readable: true, closed: false });
    };
    // SAFETY: all-zero bytes are a valid structure of integers.
    let mut found: WSANETWORKEVENTS = unsafe { std::mem::zeroed() };
    let handle = event.as_handle().as_raw_handle() as isize;
    // SAFETY: the event is open; the system takes it back and writes what has happened to `found`. A socket that was closed
    // is refused.
    if unsafe { WSAEnumNetworkEvents(*socket, handle, &raw mut found) } != 0 {
        event.reset();
        return Look::Gone;
    }
    let happened = found.lNetworkEvents.cast_unsigned();
    if happened & (FD_READ | FD_CLOSE) == 0 {
        return Look::Nothing;
    }
    *told = true;
    Look::Ready(Ready { token, readable: true, closed: happened & FD_CLOSE != 0 })
}

fn can_be_read(socket: SOCKET) -> bool {
    let mut asked = WSAPOLLFD { fd: socket, events: POLLRDNORM, revents: 0 };
    // SAFETY: one structure, to which the system writes; it does not wait.
    unsafe { WSAPoll(&raw mut asked, 1, 0) > 0 }
}
