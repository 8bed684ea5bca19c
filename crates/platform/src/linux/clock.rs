//! The one clock of the project.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Time since boot, suspend included, never set by anybody (`CLOCK_BOOTTIME`, clock_gettime(2)). The same in all
/// processes of one machine, so it may cross the pipe between keeper and brain.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "cannot fail: the clock exists since Linux 2.6.39")]
pub fn boot_time() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME can always be read").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back_and_agrees_with_the_kernel() {
        let first = boot_time();
        let second = boot_time();
        assert!(second >= first);
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!((boot_time().as_secs_f64() - uptime).abs() < 5.0);
    }
}
