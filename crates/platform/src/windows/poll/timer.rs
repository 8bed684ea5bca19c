//! An alarm.

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::WAIT_OBJECT_0;
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CREATE_WAITABLE_TIMER_MANUAL_RESET, CancelWaitableTimer,
    CreateWaitableTimerExW, SetWaitableTimer, TIMER_ALL_ACCESS, WaitForSingleObject,
};

use super::super::clock::boot_time;
use super::{Source, Waitable};

/// Farther away than anything that is waited for, in units of 100 ns: a hundred years.
const NEVER: i64 = 100 * 365 * 86_400 * 10_000_000;

/// An alarm on the clock of [`boot_time`](crate::clock::boot_time) (CreateWaitableTimerExW). Readable from the
/// moment it was set to, until it is set again or cleared.
///
/// Of high resolution where the system has that (Windows 10 1803), else as exact as the system's tick. The system counts
/// with the time of its last tick, so it may be readable up to a tick too early; [`Timer::fired`] looks at the clock. A suspend
/// is not counted: after one it goes off later by that (documented for relative times since Windows 8).
#[derive(Debug)]
pub struct Timer {
    timer: OwnedHandle,
    /// The moment in nanoseconds; `u64::MAX`: not set.
    at: AtomicU64,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// No handles or memory left.
    pub fn new() -> io::Result<Self> {
        let precise = CREATE_WAITABLE_TIMER_MANUAL_RESET | CREATE_WAITABLE_TIMER_HIGH_RESOLUTION;
        let timer = make(precise).or_else(|_| make(CREATE_WAITABLE_TIMER_MANUAL_RESET))?;
        Ok(Self { timer, at: AtomicU64::new(u64::MAX) })
    }

    /// Sets it to go off at `at` since boot, instead of any earlier setting; at once if that has passed.
    ///
    /// # Errors
    /// None in practice.
    pub fn set(&self, at: Duration) -> io::Result<()> {
        let left = at.saturating_sub(boot_time());
        let ticks = i64::try_from(left.as_nanos().div_ceil(100)).unwrap_or(NEVER).clamp(1, NEVER);
        self.set_ticks(ticks)?;
        self.at.store(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX - 1), Ordering::Relaxed);
        Ok(())
    }

    /// Switches it off; it is no longer readable.
    ///
    /// # Errors
    /// None in practice.
    pub fn clear(&self) -> io::Result<()> {
        self.at.store(u64::MAX, Ordering::Relaxed);
        // Only setting it makes it not readable; cancelling leaves that as it is.
        self.set_ticks(NEVER)?;
        // SAFETY: the handle is ours and open.
        if unsafe { CancelWaitableTimer(self.timer.as_raw_handle()) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Whether it went off since it was set, and if so, makes it not readable.
    ///
    /// # Errors
    /// None in practice.
    pub fn fired(&self) -> io::Result<bool> {
        // SAFETY: the handle is ours and open; does not wait.
        let signalled = unsafe { WaitForSingleObject(self.timer.as_raw_handle(), 0) } == WAIT_OBJECT_0;
        let come = boot_time().as_nanos() >= self.at.load(Ordering::Relaxed).into();
        if !signalled || !come {
            return Ok(false);
        }
        self.clear()?;
        Ok(true)
    }

    fn set_ticks(&self, ticks: i64) -> io::Result<()> {
        // Negative: from now on, whatever becomes of the time of day.
        let due = -ticks;
        // SAFETY: the handle is ours and open; the system reads `due` only; there is no completion routine.
        let set =
            unsafe { SetWaitableTimer(self.timer.as_raw_handle(), &raw const due, 0, None, ptr::null(), 0) };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn make(flags: u32) -> io::Result<OwnedHandle> {
    // SAFETY: no attributes and no name.
    let raw = unsafe { CreateWaitableTimerExW(ptr::null(), ptr::null(), flags, TIMER_ALL_ACCESS) };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made for us; nobody else owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

impl Waitable for Timer {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.timer.as_handle())
    }
}
