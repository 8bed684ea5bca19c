//! A machine's clock, which differs from the world's: where it began, how fast it runs, and when it stood still.

use std::time::Duration;

use vipdrift_core::Timestamp;

const MILLION: i128 = 1_000_000;

/// The monotonic clock of a machine (Linux: `CLOCK_BOOTTIME`). World time is a span since the world began.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// What the clock showed at `since`.
    base: Timestamp,
    since: Duration,
    /// Too fast by this many millionths.
    ppm: i32,
    stopped: bool,
}

impl Clock {
    pub(crate) fn new(base: Timestamp, ppm: i32) -> Self {
        Self { base, since: Duration::ZERO, ppm, stopped: false }
    }

    /// What it shows at a moment of the world.
    pub(crate) fn read(&self, now: Duration) -> Timestamp {
        if self.stopped {
            return self.base;
        }
        let passed = i128::try_from(now.saturating_sub(self.since).as_nanos()).unwrap_or(0);
        let local = passed + passed * i128::from(self.ppm) / MILLION;
        self.base + Duration::from_nanos(u64::try_from(local).unwrap_or(0))
    }

    /// The first moment of the world at which it shows `at` or more; `None` while it stands still.
    pub(crate) fn when(&self, at: Timestamp) -> Option<Duration> {
        if self.stopped {
            return None;
        }
        let local = i128::try_from(at.since(self.base).as_nanos()).unwrap_or(0);
        let rate = MILLION + i128::from(self.ppm);
        let passed = (local * MILLION + rate - 1) / rate;
        let mut when = self.since + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
        // Rounding may be a nanosecond or two off.
        while self.read(when) < at {
            when += Duration::from_nanos(1);
        }
        Some(when)
    }

    /// It stands still, as in a virtual machine that is paused.
    pub(crate) fn stop(&mut self, now: Duration) {
        self.base = self.read(now);
        self.since = now;
        self.stopped = true;
    }

    /// It goes on from where it stood.
    pub(crate) fn go_on(&mut self, now: Duration) {
        if self.stopped {
            self.stopped = false;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_moment_at_which_the_clock_shows_it() {
        for ppm in [-500, -3, 0, 1, 499] {
            let mut clock = Clock::new(Timestamp::from_nanos(7_000_000_123), ppm);
            for nanos in [0, 1, 999, 123_456_789, 3_600_000_000_000] {
                let at = Timestamp::from_nanos(7_000_000_123 + nanos);
                let when = clock.when(at).expect("it runs");
                assert!(clock.read(when) >= at);
                let before = when.saturating_sub(Duration::from_nanos(2));
                assert!(when.is_zero() || clock.read(before) < at || before == when);
            }
            clock.stop(Duration::from_secs(5));
            let stood = clock.read(Duration::from_secs(9));
            assert_eq!(clock.read(Duration::from_secs(5)), stood);
            assert_eq!(clock.when(stood), None);
            clock.go_on(Duration::from_secs(9));
            assert_eq!(clock.read(Duration::from_secs(9)), stood);
        }
    }
}
