//! Jobs: sets of processes that end together.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle, RawHandle};
use std::ptr;

use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT,
    JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, SetInformationJobObject, TerminateJobObject,
};

/// A job. Its processes end with the last handle of it, and nobody else has one.
#[derive(Debug)]
pub(in super::super) struct Job {
    handle: OwnedHandle,
}

impl Job {
    /// One without processes, that ends them when it is dropped.
    ///
    /// # Errors
    /// No memory left.
    pub(in super::super) fn new() -> io::Result<Self> {
        // SAFETY: no attributes and no name.
        let raw = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just made for us.
        let job = Self { handle: unsafe { OwnedHandle::from_raw_handle(raw) } };
        job.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, 0)?;
        Ok(job)
    }

    /// Sets its limits, and no others: `processes` is how many may be in it, where that is one of them.
    ///
    /// # Errors
    /// Those of the system; the limits are as before.
    pub(in super::super) fn limit(&self, flags: JOB_OBJECT_LIMIT, processes: u32) -> io::Result<()> {
        // SAFETY: all-zero bytes are a valid structure of integers: no limits.
        let mut limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = unsafe { std::mem::zeroed() };
        limits.BasicLimitInformation.LimitFlags = flags;
        limits.BasicLimitInformation.ActiveProcessLimit = processes;
        #[expect(clippy::cast_possible_truncation, reason = "some hundred bytes")]
        let length = size_of_val(&limits) as u32;
        // SAFETY: the job is open; the system reads the structure, whose length is its own.
        let set = unsafe {
            SetInformationJobObject(
                self.raw(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                length,
            )
        };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Puts a process into it, and whatever that one starts from now on.
    ///
    /// # Errors
    /// Not permitted.
    pub(in super::super) fn add(&self, process: RawHandle) -> io::Result<()> {
        // SAFETY: the job is open, and the caller's handle of a process is too, or is refused.
        let added = unsafe { AssignProcessToJobObject(self.raw(), process) };
        if added == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ends all its processes, with this code.
    ///
    /// # Errors
    /// Not permitted.
    pub(super) fn end(&self, code: u32) -> io::Result<()> {
        // SAFETY: the job is open.
        if unsafe { TerminateJobObject(self.raw(), code) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether this process is in it.
    ///
    /// # Errors
    /// Not permitted.
    pub(super) fn has(&self, process: RawHandle) -> io::Result<bool> {
        let mut is = 0;
        // SAFETY: the job is open, and the caller's handle of a process is too, or is refused; the system writes to `is`.
        if unsafe { IsProcessInJob(process, self.raw(), &raw mut is) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(is != 0)
    }

    pub(super) fn raw(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }
}

impl From<OwnedHandle> for Job {
    /// Takes over one that another process has made.
    fn from(handle: OwnedHandle) -> Self {
        Self { handle }
    }
}
