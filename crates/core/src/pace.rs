//! Whether this machine keeps the pace that the configuration asks for. It never moves a VIP for its own lateness; but its
//! peers may have to, and whoever runs it should know before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What is counted together.
const SPAN: Duration = Duration::from_secs(60);
/// Times in one span that are too often.
const OFTEN: u32 = 10;
/// Said no more often than this.
const SAY: Duration = Duration::from_secs(600);

/// How often in a minute, and by how much at worst, a node was late by more than half a heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateOften {
    /// Deadlines.
    pub times: u32,
    /// The longest delay.
    pub worst: Duration,
}

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pace {
    since: Timestamp,
    now: LateOften,
    before: LateOften,
    said_at: Option<Timestamp>,
}

impl Pace {
    /// A deadline was missed by more than half a heartbeat. Returns what is to be said now, if anything.
    pub(crate) fn late(&mut self, now: Timestamp, by: Duration) -> Option<LateOften> {
        let gone = now.since(self.since);
        if gone >= SPAN {
            self.before = if gone < SPAN * 2 { self.now } else { LateOften::default() };
            self.now = LateOften::default();
            self.since = now;
        }
        self.now.times = self.now.times.saturating_add(1);
        self.now.worst = self.now.worst.max(by);
        let quiet = self.said_at.is_none_or(|at| now.since(at) >= SAY);
        if self.now.times < OFTEN || !quiet {
            return None;
        }
        self.said_at = Some(now);
        Some(self.now)
    }

    /// The pace is not kept: of the last minute or so.
    pub(crate) fn not_kept(&self, now: Timestamp) -> Option<LateOften> {
        let gone = now.since(self.since);
        let spans = if gone < SPAN {
            [self.now, self.before]
        } else if gone < SPAN * 2 {
            [self.now, LateOften::default()]
        } else {
            return None;
        };
        spans.into_iter().find(|span| span.times >= OFTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn late_now_and_then_is_nothing() {
        let mut pace = Pace::default();
        for minute in 1..100 {
            for time in 0..9 {
                let now = at(minute * 60_000 + time * 1000);
                assert_eq!(pace.late(now, ms(8)), None);
                assert_eq!(pace.not_kept(now), None);
            }
        }
    }

    #[test]
    fn late_often_is_said_once_and_shown_until_it_is_over() {
        let mut pace = Pace::default();
        let said: Vec<LateOften> =
            (0..100).filter_map(|time| pace.late(at(70_000 + time * 1000), ms(8 + time % 5))).collect();
        assert_eq!(said, [LateOften { times: 10, worst: ms(12) }]);
        assert_eq!(pace.not_kept(at(169_000)).map(|late| late.worst), Some(ms(12)));
        assert!(pace.not_kept(at(180_000)).is_some());
        assert_eq!(pace.not_kept(at(400_000)), None);
        let again: Vec<LateOften> =
            (0..20).filter_map(|time| pace.late(at(800_000 + time * 1000), ms(8))).collect();
        assert_eq!(again.len(), 1, "and again when that is long ago");
    }
}
