//! The one clock of the project.

use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

use super::library;

/// Writes the interrupt time in units of 100 ns.
type Query = unsafe extern "system" fn(*mut u64);

/// Where the time comes from; the same in all processes of one machine, since it depends on the system alone.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Interrupt(Query),
    /// Ticks per second.
    Counter(u64),
}

/// Time since boot, suspend included, never set by anybody. The same in all processes of one machine, so it may cross the
/// pipe between keeper and brain.
///
/// The first of these that the system has: QueryInterruptTimePrecise (Windows 10; exact to less than a microsecond),
/// QueryInterruptTime (the same clock as of the last tick), QueryPerformanceCounter (on Windows it goes on over a
/// suspend as well; wine 8 has nothing else).
#[must_use]
pub fn boot_time() -> Duration {
    match clock() {
        Clock::Interrupt(query) => {
            let mut ticks = 0;
            // SAFETY: the function writes one integer to where the pointer says.
            unsafe { query(&raw mut ticks) };
            Duration::new(ticks / 10_000_000, nanos(ticks % 10_000_000 * 100))
        }
        Clock::Counter(frequency) => {
            let mut ticks = 0;
            // SAFETY: the system writes one integer to `ticks`. It does not fail on a Windows since XP (documented).
            unsafe { QueryPerformanceCounter(&raw mut ticks) };
            let ticks = ticks.cast_unsigned();
            Duration::new(ticks / frequency, nanos(ticks % frequency * 1_000_000_000 / frequency))
        }
    }
}

fn nanos(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(999_999_999)
}

fn clock() -> Clock {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    *CLOCK.get_or_init(|| {
        let names = [c"QueryInterruptTimePrecise", c"QueryInterruptTime"];
        if let Some(found) = names.into_iter().find_map(|name| library::find("kernelbase.dll", name)) {
            // SAFETY: both functions have this type (realtimeapiset.h).
            return Clock::Interrupt(unsafe { std::mem::transmute::<*const std::ffi::c_void, Query>(found) });
        }
        let mut frequency = 0;
        // SAFETY: the system writes one integer to `frequency`.
        unsafe { QueryPerformanceFrequency(&raw mut frequency) };
        Clock::Counter(frequency.cast_unsigned().max(1))
    })
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::SystemInformation::GetTickCount64;

    use super::*;

    #[test]
    fn never_goes_back_and_agrees_with_the_kernel() {
        let first = boot_time();
        let second = boot_time();
        assert!(second >= first);
        // SAFETY: takes no pointer.
        let uptime = Duration::from_millis(unsafe { GetTickCount64() });
        assert!(boot_time().abs_diff(uptime) < Duration::from_secs(5), "{:?} {uptime:?}", boot_time());
    }
}
