//! Every deadline of a node in one table.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Deadline;
use crate::time::Timestamp;

/// What may come due. Numbers are indexes of peers, groups or interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Timer {
    /// Send heartbeats.
    Heartbeat,
    /// Prove liveness to the keeper.
    Beat,
    /// The listening time at start is over.
    Listened,
    /// Away no longer: a whole interval has passed.
    Proved,
    /// Send group states again that a peer has not acknowledged.
    Resend,
    /// Tell the peers who answers for their VIPs.
    Report,
    /// Tell the keeper what a next brain must know of checks.
    Remember,
    /// Tell keeper and peers what has changed since they were last told.
    Together,
    /// An errand for another node has taken too long.
    Errand,
    /// Ask for the VIPs of a drill.
    Drill,
    /// A peer becomes suspect, or is asked again.
    Suspicion(usize),
    /// A peer's dead time is over.
    Dead(usize),
    /// Ask a peer's kernel and mind the answer for later.
    Routine(usize),
    /// Tell a peer whose configuration differs a part of this node's outline.
    Outline(usize),
    /// Ask an interface's references.
    References(usize),
    /// An interface has waited long enough for proof that it works.
    Trusted(usize),
    /// Those that wait may ask.
    Questions,
    /// Ask who answers for a group's VIPs.
    Ask(usize),
    /// Announce a group again.
    Announce(usize),
    /// Look who answers for a VIP in a new reign.
    Verify(usize),
    /// An heir that was to mount first has taken too long.
    Handover(usize),
    /// A program that is run before a mount has taken too long.
    Gate(usize),
    /// Somebody has waited long enough for a planned move.
    Waiting(usize),
    /// A group may go back to a preferred node.
    Failback(usize),
    /// A failed mount may be tried again.
    Retry(usize),
    /// Decide about a group again: something that was waited for has run out.
    Revisit(usize),
}

impl Timer {
    fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Beat => "beat",
            Self::Listened => "listened",
            Self::Proved => "proved",
            Self::Resend => "resend",
            Self::Report => "report",
            Self::Remember => "remember",
            Self::Together => "together",
            Self::Errand => "errand",
            Self::Drill => "drill",
            Self::Suspicion(_) => "suspicion",
            Self::Dead(_) => "dead",
            Self::Routine(_) => "routine",
            Self::Outline(_) => "outline",
            Self::References(_) => "references",
            Self::Trusted(_) => "trusted",
            Self::Questions => "questions",
            Self::Ask(_) => "ask",
            Self::Announce(_) => "announce",
            Self::Verify(_) => "verify",
            Self::Handover(_) => "handover",
            Self::Gate(_) => "gate",
            Self::Waiting(_) => "waiting",
            Self::Failback(_) => "failback",
            Self::Retry(_) => "retry",
            Self::Revisit(_) => "revisit",
        }
    }
}

/// At most one deadline for each timer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TimerTable {
    by_timer: BTreeMap<Timer, Timestamp>,
    by_time: BTreeSet<(Timestamp, Timer)>,
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        if let Some(old) = self.by_timer.insert(timer, at) {
            self.by_time.remove(&(old, timer));
        }
        self.by_time.insert((at, timer));
    }

    /// Sets a timer unless it is already due sooner.
    pub(crate) fn set_sooner(&mut self, timer: Timer, at: Timestamp) {
        if self.get(timer).is_none_or(|old| at < old) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(old) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(old, timer));
        }
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Timestamp> {
        self.by_timer.get(&timer).copied()
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        self.by_time.first().map(|&(at, timer)| Deadline { at, why: timer.name() })
    }

    /// Takes one timer that is due.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let &(at, timer) = self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_in_order_of_time_and_once() {
        let mut table = TimerTable::default();
        table.set(Timer::Beat, Timestamp::from_nanos(20));
        table.set(Timer::Heartbeat, Timestamp::from_nanos(10));
        table.set(Timer::Heartbeat, Timestamp::from_nanos(15));
        table.set_sooner(Timer::Beat, Timestamp::from_nanos(30));
        assert_eq!(table.next().map(|d| (d.at.as_nanos(), d.why)), Some((15, "heartbeat")));
        assert_eq!(table.pop_due(Timestamp::from_nanos(14)), None);
        assert_eq!(table.pop_due(Timestamp::from_nanos(20)), Some(Timer::Heartbeat));
        assert_eq!(table.pop_due(Timestamp::from_nanos(20)), Some(Timer::Beat));
        assert_eq!(table.pop_due(Timestamp::from_nanos(99)), None);
        assert_eq!(table.next(), None);
    }
}
