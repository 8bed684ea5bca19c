//! Congestion control of questions. Where very many VIPs are asked for by several nodes at once, all of them have so much to
//! read that they are late; a node that is late asks for everything anew, and so it would never end. So a node that is
//! late asks more slowly, twice as slowly each time, and twice as fast again after each while in which it was not.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A question about a VIP on a node that is not late takes about this long.
const QUESTION: Duration = Duration::from_micros(10);
/// As many of them at once.
const AT_ONCE: usize = 16;
/// Late again within this time is the same trouble.
const AGAIN: Duration = Duration::from_millis(100);
/// After this long without being late it asks twice as fast.
const CALM: Duration = Duration::from_millis(500);
/// It never asks more slowly than this many times.
const MOST: u32 = 256;

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Strain {
    factor: u32,
    changed: Timestamp,
    /// Nobody asks before this.
    ready: Timestamp,
    /// Groups whose turn to ask comes, in order.
    waiting: VecDeque<usize>,
    listed: BTreeSet<usize>,
}

impl Default for Strain {
    fn default() -> Self {
        let (waiting, listed) = (VecDeque::new(), BTreeSet::new());
        Self { factor: 1, changed: Timestamp::ZERO, ready: Timestamp::ZERO, waiting, listed }
    }
}

impl Strain {
    /// The node was late by this much.
    pub(crate) fn late(&mut self, now: Timestamp, by: Duration, heartbeat: Duration) {
        if by < heartbeat * 2 {
            return;
        }
        if self.factor == 1 || now.since(self.changed) >= AGAIN {
            self.factor = (self.factor * 2).min(MOST);
            self.changed = now;
        }
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        if self.factor > 1 && now.since(self.changed) >= CALM {
            self.factor /= 2;
            self.changed = now;
        }
    }

    /// How many times more slowly it asks.
    pub(crate) fn factor(&self) -> u32 {
        self.factor
    }

    /// A group is to ask when its turn comes: `None` if that is now, otherwise when the first has its turn.
    pub(crate) fn queue(&mut self, group: usize, now: Timestamp) -> Option<Timestamp> {
        if self.waiting.is_empty() && self.ready <= now {
            return None;
        }
        if self.listed.insert(group) {
            self.waiting.push_back(group);
        }
        Some(self.ready)
    }

    /// It has asked otherwise, or asks no more.
    pub(crate) fn forget(&mut self, group: usize) {
        self.listed.remove(&group);
    }

    /// Whose turn it is after so many questions at once, if anybody's.
    pub(crate) fn next(&mut self, asked: usize) -> Option<usize> {
        if asked >= AT_ONCE {
            return None;
        }
        loop {
            let group = self.waiting.pop_front()?;
            if self.listed.remove(&group) {
                return Some(group);
            }
        }
    }

    /// So many have been asked. Answers when the next has its turn, if anybody waits still.
    pub(crate) fn asked(&mut self, questions: usize, now: Timestamp) -> Option<Timestamp> {
        self.ready = self.ready_after(questions, now);
        (!self.waiting.is_empty()).then_some(self.ready)
    }

    fn ready_after(&self, questions: usize, now: Timestamp) -> Timestamp {
        let questions = u32::try_from(questions).unwrap_or(u32::MAX);
        now + QUESTION.saturating_mul(self.factor.saturating_mul(questions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(10);

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn asks_more_slowly_while_it_is_late_and_faster_when_it_is_not() {
        let mut strain = Strain::default();
        strain.late(at(1000), HEARTBEAT, HEARTBEAT);
        assert_eq!(strain.factor(), 1, "a little late is nothing");
        for ms in (1000..2000).step_by(20) {
            strain.late(at(ms), HEARTBEAT * 2, HEARTBEAT);
            strain.pass(at(ms));
        }
        assert_eq!(strain.factor(), 256, "doubled ten times in a second, and no more than is allowed");
        let mut factors = Vec::new();
        for ms in (2000..8000).step_by(100) {
            strain.pass(at(ms));
            factors.push(strain.factor());
        }
        factors.dedup();
        assert_eq!(factors, [256, 128, 64, 32, 16, 8, 4, 2, 1]);
    }

    #[test]
    fn everybody_has_a_turn_and_few_at_once() {
        let mut strain = Strain::default();
        strain.late(at(1000), HEARTBEAT * 2, HEARTBEAT);
        let mut now = at(1000);
        assert_eq!(strain.queue(0, now), None, "nobody has asked yet");
        assert_eq!(strain.asked(AT_ONCE, now), None, "nobody waits");
        now = strain.ready;
        for group in (0..40).chain(0..40) {
            assert_eq!(strain.queue(group, at(1000)), Some(now));
        }
        for group in 40..50 {
            strain.queue(group, now);
            strain.forget(group);
        }
        let mut turns = Vec::new();
        loop {
            let before = turns.len();
            while let Some(group) = strain.next(turns.len() - before) {
                turns.push(group);
            }
            let asked = turns.len() - before;
            assert!(asked <= AT_ONCE);
            let Some(next) = strain.asked(asked, now) else { break };
            assert_eq!(next.since(now), Duration::from_micros(320), "16 at 20 µs");
            now = next;
        }
        let turn = strain.queue(7, now).expect("whoever comes later waits as well");
        assert_eq!(turn.since(now), Duration::from_micros(160));
        assert_eq!(turns, (0..40).collect::<Vec<_>>());
    }
}
