//! A program and all that it starts.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command};

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

use super::child::KILLED;
use super::job::Job;
use super::start;

/// A program and whatever it starts, which end with this value (a job object).
#[derive(Debug)]
pub struct Group {
    job: Job,
}

impl Group {
    /// Starts a program, without a window. It runs nothing before it is in the group.
    ///
    /// # Errors
    /// It cannot be started, or not be put into a group; then nothing of it is left.
    pub fn spawn(command: &mut Command) -> io::Result<(Self, Child)> {
        let job = Job::new()?;
        command.creation_flags(CREATE_SUSPENDED | CREATE_NO_WINDOW);
        let mut child = {
            // What another thread marks for its child is not meant for this one.
            let _spawning = start::lock();
            command.spawn()?
        };
        let ready = job.add(child.as_raw_handle()).and_then(|()| resume(child.id()));
        if let Err(error) = ready {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok((Self { job }, child))
    }

    /// Kills all of them. Those that have ended already are `Ok`.
    ///
    /// # Errors
    /// Not permitted.
    pub fn kill(&self) -> io::Result<()> {
        self.job.end(KILLED)
    }

    /// Lets those live that still do.
    ///
    /// # Errors
    /// Not permitted; they have been killed then.
    pub fn release(self) -> io::Result<()> {
        self.job.limit(0, 0)
    }
}

/// Has the threads of a process that was started suspended run: its only one.
fn resume(pid: u32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    // SAFETY: all-zero bytes are a valid entry, a structure of integers.
    let mut entry: THREADENTRY32 = unsafe { std::mem::zeroed() };
    #[expect(clippy::cast_possible_truncation, reason = "some bytes")]
    let size = size_of::<THREADENTRY32>() as u32;
    entry.dwSize = size;
    // SAFETY: the snapshot is open, and the entry says how long it is.
    let mut more = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        if entry.th32OwnerProcessID == pid {
            return resume_thread(entry.th32ThreadID);
        }
        entry.dwSize = size;
        // SAFETY: as above.
        more = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the new process has no thread"))
}

fn resume_thread(id: u32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    let raw = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, id) };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us.
    let thread = unsafe { OwnedHandle::from_raw_handle(raw) };
    // SAFETY: the thread is open.
    if unsafe { ResumeThread(thread.as_raw_handle()) } == u32::MAX {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
