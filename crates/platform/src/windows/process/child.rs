//! A process that was started, or is watched.

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle, FromRawHandle as _, OwnedHandle, RawHandle};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, OpenProcess, PROCESS_ACCESS_RIGHTS, PROCESS_QUERY_INFORMATION, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use super::super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::super::poll::{Source, Waitable};

/// With what code a process ends that is killed here: ERROR_PROCESS_ABORTED.
pub(super) const KILLED: u32 = 1067;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, or killed, with this code. One that [`Child::kill`] ended has 1067, one that crashed a negative one, the
    /// NTSTATUS of the fault.
    Code(i32),
    /// Does not occur here.
    Signal(i32),
}

/// A child process. It can be waited for: it is readable once it has ended. Dropping it neither kills nor reaps it.
#[derive(Debug)]
pub struct Child {
    /// Its process id; means this process for as long as this value lives.
    pub pid: u32,
    handle: OwnedHandle,
}

/// A child that an earlier program in the place of this one has started: to be reaped.
///
/// # Errors
/// [`io::ErrorKind::NotFound`]: there is no such process, or what has the id now is no child of theirs. Others: not permitted.
pub fn adopt(pid: u32) -> io::Result<Child> {
    let access = PROCESS_SYNCHRONIZE | PROCESS_QUERY_INFORMATION | PROCESS_TERMINATE;
    let handle = open(pid, access)?;
    if !super::start::job()?.has(handle.as_raw_handle())? {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Child { pid, handle })
}

/// A handle that means exactly this process and can be waited for: it is readable once it has ended. It need not be a
/// child.
///
/// # Errors
/// [`io::ErrorKind::NotFound`]: there is no such process; not permitted, or no handles are left.
pub fn watch(pid: u32) -> io::Result<Owned> {
    open(pid, PROCESS_SYNCHRONIZE).map(Owned::from)
}

fn open(pid: u32, access: PROCESS_ACCESS_RIGHTS) -> io::Result<OwnedHandle> {
    // SAFETY: takes no pointer.
    let raw = unsafe { OpenProcess(access, 0, pid) };
    if raw.is_null() {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error().map(i32::cast_unsigned) {
            Some(ERROR_INVALID_PARAMETER) => io::ErrorKind::NotFound.into(),
            _ => error,
        });
    }
    // SAFETY: the handle was just made for us.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

impl Child {
    pub(super) fn new(pid: u32, handle: OwnedHandle) -> Self {
        Self { pid, handle }
    }

    /// Kills it (TerminateProcess): it gets no chance to do anything. One that has ended already is `Ok`.
    ///
    /// # Errors
    /// Not permitted.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: the handle is ours and open.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), KILLED) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // So the system answers for one that has ended, or is about to.
        let ended = error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) && self.has_ended()?;
        if ended { Ok(()) } else { Err(error) }
    }

    /// Kills it as well: a process without a window cannot be asked to stop. Use its pipe for that.
    ///
    /// # Errors
    /// Not permitted.
    pub fn terminate(&self) -> io::Result<()> {
        self.kill()
    }

    fn has_ended(&self) -> io::Result<bool> {
        // SAFETY: the handle is ours and open; does not wait.
        match unsafe { WaitForSingleObject(self.handle.as_raw_handle(), 0) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether it is dead but for threads that wait in the kernel. This system does not tell: never.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        false
    }

    /// How it ended, if it has; never blocks. It leaves nothing behind, and may be called again.
    ///
    /// # Errors
    /// Faults of the handle.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        if !self.has_ended()? {
            return Ok(None);
        }
        let mut code = 0;
        // SAFETY: the handle is ours and open; the system writes to `code` only.
        if unsafe { GetExitCodeProcess(self.handle.as_raw_handle(), &raw mut code) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Some(Exit::Code(code.cast_signed())))
    }
}

impl AsRawHandle for Child {
    fn as_raw_handle(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }
}

impl Waitable for Child {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.handle.as_handle())
    }
}

impl AsDescriptor for Child {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.handle.as_handle().into()
    }
}
