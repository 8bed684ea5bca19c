//! Running on time although the machine is busy. Everything here may be refused; the daemon then runs in a degraded mode and
//! says so.
//!
//! Windows has no limits that end a process gone wild, and a thread of this priority that never sleeps keeps no
//! other system thread from running for long: priorities are raised for those that starve.

use std::ffi::c_void;
use std::io;

use windows_sys::Win32::System::Memory::{
    QUOTA_LIMITS_HARDWS_MAX_DISABLE, QUOTA_LIMITS_HARDWS_MIN_DISABLE, QUOTA_LIMITS_HARDWS_MIN_ENABLE,
    SETPROCESSWORKINGSETSIZEEX_FLAGS, SetProcessWorkingSetSizeEx,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetCurrentThread, HIGH_PRIORITY_CLASS, PROCESS_POWER_THROTTLING_CURRENT_VERSION,
    PROCESS_POWER_THROTTLING_EXECUTION_SPEED, PROCESS_POWER_THROTTLING_IGNORE_TIMER_RESOLUTION,
    PROCESS_POWER_THROTTLING_STATE, ProcessPowerThrottling, SetPriorityClass, SetProcessInformation,
    SetThreadPriority, THREAD_PRIORITY, THREAD_PRIORITY_HIGHEST, THREAD_PRIORITY_NORMAL,
    THREAD_PRIORITY_TIME_CRITICAL,
};

use super::library;

/// What was refused. Everything not named in it was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What could not be raised, by name.
    #[error("limits not raised: {}", named(.0))]
    Limits(Vec<(&'static str, io::Error)>),
    /// The priority of the thread.
    #[error("real-time priority refused: {0}")]
    RealTime(#[source] io::Error),
    /// Memory is not kept in the working set.
    #[error("memory not locked: {0}")]
    Memory(#[source] io::Error),
    /// Parts of the fallback that were refused, by name.
    #[error("fallback incomplete: {}", named(.0))]
    Fallback(Vec<(&'static str, io::Error)>),
}

fn named(refused: &[(&'static str, io::Error)]) -> String {
    refused.iter().map(|(name, error)| format!("{name} ({error})")).collect::<Vec<_>>().join(", ")
}

/// So much memory of this process stays in the machine's memory, once it has been used.
const KEPT: usize = 32 << 20;
/// More than it ever needs; it is not held to it.
const MOST: usize = 512 << 20;

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts this process into the class of high priority (HIGH_PRIORITY_CLASS), and has the system neither slow it down to save
/// power (EcoQoS) nor pass over the timers that [`real_time`] asks for. Tries each. Children begin without.
///
/// # Errors
/// [`Error::Limits`] names what was refused. Passing over timers is known since Windows 11; where it is not, nothing is
/// refused.
pub fn raise_limits() -> Result<(), Error> {
    let mut refused = Vec::new();
    // SAFETY: the pseudo handle of this process; takes no pointer.
    if let Err(error) = done(unsafe { SetPriorityClass(GetCurrentProcess(), HIGH_PRIORITY_CLASS) }) {
        refused.push(("priority class", error));
    }
    let both = PROCESS_POWER_THROTTLING_EXECUTION_SPEED | PROCESS_POWER_THROTTLING_IGNORE_TIMER_RESOLUTION;
    let unslowed = never_throttle(both).or_else(|_| never_throttle(PROCESS_POWER_THROTTLING_EXECUTION_SPEED));
    if let Err(error) = unslowed {
        refused.push(("power throttling", error));
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Limits(refused)) }
}

fn never_throttle(what: u32) -> io::Result<()> {
    // Under our control, and off.
    let state = PROCESS_POWER_THROTTLING_STATE {
        Version: PROCESS_POWER_THROTTLING_CURRENT_VERSION,
        ControlMask: what,
        StateMask: 0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "some bytes")]
    let length = size_of_val(&state) as u32;
    // SAFETY: the pseudo handle of this process; the system reads the structure, whose length is its own.
    done(unsafe {
        SetProcessInformation(GetCurrentProcess(), ProcessPowerThrottling, (&raw const state).cast(), length)
    })
}

fn set_priority(priority: THREAD_PRIORITY) -> io::Result<()> {
    // SAFETY: the pseudo handle of this thread; takes no pointer.
    done(unsafe { SetThreadPriority(GetCurrentThread(), priority) })
}

/// The highest priority within the class of this process for the calling thread (THREAD_PRIORITY_TIME_CRITICAL: 15 of 31),
/// and timers of one millisecond for the process (timeBeginPeriod). Threads and processes it starts later are
/// ordinary. `priority`, from 1 to 99, is not told apart further. It survives [dropping
/// privileges](super::sandbox::drop_privileges).
///
/// # Errors
/// [`Error::RealTime`]: the thread is scheduled as before. So it is under wine, which takes the number and does nothing with it.
pub fn real_time(priority: u8) -> Result<(), Error> {
    if !(1..=99).contains(&priority) {
        return Err(Error::RealTime(io::ErrorKind::InvalidInput.into()));
    }
    set_priority(THREAD_PRIORITY_TIME_CRITICAL).map_err(Error::RealTime)?;
    // Timers of high resolution do without it; waiting with a limit does not.
    let _ = precise_timers();
    if library::find("ntdll.dll", c"wine_get_version").is_some() {
        let why = io::Error::new(io::ErrorKind::Unsupported, "this is wine, which does not heed it");
        return Err(Error::RealTime(why));
    }
    Ok(())
}

/// The priority below [`real_time`]'s for the calling thread, on which that one waits; if it is refused, it is as it was.
pub(super) fn hurry() {
    let _ = set_priority(THREAD_PRIORITY_HIGHEST);
}

/// Undoes [`real_time`] for the calling thread. The timers stay as they are.
pub fn ordinary() {
    let _ = set_priority(THREAD_PRIORITY_NORMAL);
}

/// One millisecond instead of the usual 15.6.
fn precise_timers() -> io::Result<()> {
    type Begin = unsafe extern "system" fn(u32) -> u32;
    let found = library::find("winmm.dll", c"timeBeginPeriod").ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: the function has this type (timeapi.h).
    let begin = unsafe { std::mem::transmute::<*const c_void, Begin>(found) };
    // SAFETY: takes no pointer. It holds until the process ends.
    if unsafe { begin(1) } == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Keeps 32 MiB of this process, which is more than it uses, in the machine's memory once they have been used
/// (SetProcessWorkingSetSizeEx). Needs the privilege SeIncreaseWorkingSetPrivilege, which all users have unless it was taken
/// from them; call it before [dropping privileges](super::sandbox::drop_privileges).
///
/// # Errors
/// [`Error::Memory`]: nothing is kept.
pub fn lock_memory() -> Result<(), Error> {
    let flags: SETPROCESSWORKINGSETSIZEEX_FLAGS =
        QUOTA_LIMITS_HARDWS_MIN_ENABLE | QUOTA_LIMITS_HARDWS_MAX_DISABLE;
    const { assert!(QUOTA_LIMITS_HARDWS_MIN_ENABLE != QUOTA_LIMITS_HARDWS_MIN_DISABLE) };
    // SAFETY: the pseudo handle of this process; takes no pointer.
    done(unsafe { SetProcessWorkingSetSizeEx(GetCurrentProcess(), KEPT, MOST, flags) }).map_err(Error::Memory)
}

/// The next best thing where [`real_time`] was refused, for the calling thread: the priority below it, and timers of one
/// millisecond. Tries each.
///
/// # Errors
/// [`Error::Fallback`] names the parts that were refused.
pub fn fallback() -> Result<(), Error> {
    let mut refused = Vec::new();
    if let Err(error) = set_priority(THREAD_PRIORITY_HIGHEST) {
        refused.push(("thread priority", error));
    }
    if let Err(error) = precise_timers() {
        refused.push(("timers of 1 ms", error));
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Fallback(refused)) }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Threading::GetThreadPriority;

    use super::*;

    fn priority() -> i32 {
        // SAFETY: the pseudo handle of this thread; takes no pointer.
        unsafe { GetThreadPriority(GetCurrentThread()) }
    }

    // There is no Windows here.
    #[test]
    fn a_thread_has_its_priority_and_others_do_not() {
        std::thread::spawn(|| {
            assert!(matches!(real_time(0), Err(Error::RealTime(_))));
            assert!(matches!(real_time(200), Err(Error::RealTime(_))));
            assert!(real_time(50).is_err_and(|error| error.to_string().contains("this is wine")));
            assert_eq!(priority(), THREAD_PRIORITY_TIME_CRITICAL);
            assert_eq!(std::thread::spawn(priority).join().unwrap(), THREAD_PRIORITY_NORMAL);
            ordinary();
            assert_eq!(priority(), THREAD_PRIORITY_NORMAL);
            fallback().unwrap();
            assert_eq!(priority(), THREAD_PRIORITY_HIGHEST);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_refused_has_a_name() {
        if let Err(error) = raise_limits() {
            assert!(error.to_string().starts_with("limits not raised: "), "{error}");
        }
        if let Err(error) = lock_memory() {
            assert!(error.to_string().starts_with("memory not locked: "), "{error}");
        }
    }
}
