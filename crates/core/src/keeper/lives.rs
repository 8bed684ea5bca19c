//! What follows from the death of a brain.

use std::time::Duration;

use crate::time::Timestamp;

/// A second death within this time of the first is not a coincidence.
const CLOSE: Duration = Duration::from_secs(10);
/// Pause before a new brain that starts afresh.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A brain that lived this long has earned a short pause.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Keep the VIPs, tell the peers, start a new brain at once.
    Hold,
    /// Release the VIPs, resign, and start a new brain after the pause.
    Release {
        /// How long to wait.
        pause: Duration,
    },
}

/// Remembers deaths.
#[derive(Debug)]
pub struct Lives {
    last: Option<Timestamp>,
    pause: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self::new()
    }
}

impl Lives {
    /// Nobody has died yet.
    #[must_use]
    pub fn new() -> Self {
        Self { last: None, pause: FIRST_PAUSE }
    }

    /// A brain died at `now`. `proven`: it had reported for duty before.
    pub fn died(&mut self, now: Timestamp, proven: bool) -> Verdict {
        let last = self.last.replace(now);
        let lived = last.map(|last| now.since(last));
        if lived.is_none_or(|lived| lived > LONG_LIFE) {
            self.pause = FIRST_PAUSE;
        }
        if proven && lived.is_none_or(|lived| lived > CLOSE) {
            return Verdict::Hold;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Verdict::Release { pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(1000 + secs)
    }

    fn release(secs: u64) -> Verdict {
        Verdict::Release { pause: Duration::from_secs(secs) }
    }

    #[test]
    fn a_first_death_is_held_over_and_a_second_close_one_is_not() {
        let mut lives = Lives::new();
        assert_eq!(lives.died(at(0), true), Verdict::Hold);
        assert_eq!(lives.died(at(9), true), release(1));
        assert_eq!(lives.died(at(20), true), Verdict::Hold);
    }

    #[test]
    fn a_brain_that_never_reported_is_not_held_over() {
        let mut lives = Lives::new();
        assert_eq!(lives.died(at(0), false), release(1));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_a_long_life_resets_them() {
        let mut lives = Lives::new();
        for (secs, pause) in [(0, 1), (2, 2), (5, 4), (10, 8), (19, 16), (36, 30), (67, 30)] {
            let verdict = lives.died(at(secs), false);
            // 67 is 31 s after 36: not a long life.
            assert_eq!(verdict, release(pause), "at {secs}");
        }
        assert_eq!(lives.died(at(200), false), release(1));
    }
}
