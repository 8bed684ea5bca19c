//! Starting and ending the child process, and what is handed to it.
//!
//! Children are in a job of this process that ends them with it (JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE), and so is whatever
//! they start.

mod child;
mod command_line;
mod confined;
mod group;
mod handover;
mod host;
mod job;
mod memory;
mod program;
mod start;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    GetHandleInformation, HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation,
};

pub use self::child::{Child, Exit, adopt, watch};
pub use self::group::Group;
pub use self::handover::{Handover, join};
pub use self::host::host;
pub(super) use self::job::Job;
pub use self::memory::{inherited_bytes, memory_file, scratch_file};
pub use self::program::this_program;
pub use self::start::{spawn, spawn_confined};
use super::descriptor::{Number, Owned};

/// Why a process could not be started or its inheritance not made; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its path.
        program: String,
        /// The system's error.
        source: io::Error,
    },
    /// The program could not be put under the watch of this process (its job).
    #[error("cannot watch the new process: {0}")]
    Watch(#[source] io::Error),
    /// The file in memory could not be made.
    #[error("cannot make a file in memory: {0}")]
    MemoryFile(#[source] io::Error),
    /// The handle was not inherited: closed, or opened by this process itself, or taken before.
    #[error("handle {0} was not inherited")]
    NotInherited(Number),
}

/// What takes the place of a program needs longer than a new child: two processes begin, and files are looked through for
/// viruses.
pub const SUCCESSOR_NEEDS: Option<Duration> = Some(Duration::from_secs(10));

/// Processes have no other name than that of their program here: does nothing.
pub fn rename(_name: &str) {}

/// A child ends with its parent here, by the job that it is in: does nothing.
pub fn wake_when_orphaned() {}

/// Takes ownership of handle `number`, which the parent process handed over with [`spawn`]. Each can be taken once;
/// handles that this process opened itself are refused.
///
/// # Errors
/// [`Error::NotInherited`].
pub fn inherited(number: Number) -> Result<Owned, Error> {
    // Whatever a Rust program opens is not inheritable, and neither is what was taken here before. What is open with that
    // flag came from the parent and has no owner yet. The lock makes looking and taking one step.
    static TAKING: Mutex<()> = Mutex::new(());
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = || Error::NotInherited(number);
    let raw = usize::try_from(number).map_err(|_| refused())?;
    // Of the values of handles, these mean something else, or nothing (the two lowest bits are not used).
    if raw == 0 || raw > i32::MAX as usize || raw % 4 != 0 || start::is_standard(raw as HANDLE) {
        return Err(refused());
    }
    // While a child is being started, its handles are marked.
    let _spawning = start::lock();
    let mut flags = 0;
    // SAFETY: the system writes to `flags` only; what is no handle is refused.
    let known = unsafe { GetHandleInformation(raw as HANDLE, &raw mut flags) };
    if known == 0 || flags & HANDLE_FLAG_INHERIT == 0 {
        return Err(refused());
    }
    // SAFETY: the handle is open, and by the reasoning above nobody owns it.
    if unsafe { SetHandleInformation(raw as HANDLE, HANDLE_FLAG_INHERIT, 0) } == 0 {
        return Err(refused());
    }
    // SAFETY: as above.
    Ok(unsafe { Owned::from_raw(raw) })
}
