//! Asking the segment who answers for a group's VIPs, and what came back.
//!
//! Sources: RFC 5227 section 2.1 (ARP probe), RFC 4862 section 5.4 (Neighbor Solicitation from `::`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipdrift_wire::Mac;

use crate::config::VipIndex;
use crate::time::Timestamp;
use crate::tuning::ROUNDS;

/// Somebody answered for a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) mac: Mac,
    pub(crate) vip: VipIndex,
    pub(crate) at: Timestamp,
}

/// What is known of the occupancy of a group's VIPs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Occupancy {
    /// When the present series of questions began.
    asking_since: Option<Timestamp>,
    /// Rounds asked since then or since the last answer.
    unanswered: u32,
    /// When the first of these went out.
    first_unanswered: Timestamp,
    /// Rounds asked in this series.
    pub(crate) rounds: u32,
    /// When the last round went out, and how long after the one before.
    last_asked: Timestamp,
    gap: Duration,
    /// The round that was last taken back.
    #[serde(default)]
    unasked_at: Option<Timestamp>,
    /// This was found to be too long ago.
    found_stale: bool,
    /// The last answer, ever.
    last_answer: Option<Answer>,
    /// The last answer in this series.
    answer: Option<Answer>,
    /// VIPs that were answered for in this series: asked again in every round.
    pub(crate) answered_vips: BTreeSet<VipIndex>,
    /// The last answer by a node of the cluster in this series, and rounds since.
    of_node: Option<(Answer, u32)>,
    /// When a foreign machine last answered, whoever else did.
    foreign_at: Option<Timestamp>,
    /// Since when, and for how many rounds, nobody but foreign machines has answered.
    foreign: Option<(Timestamp, u32)>,
}

/// What the questions of a series amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough is known.
    Unknown,
    /// Asked often enough, and nobody answers.
    Free,
    /// Somebody answers.
    Occupied(Answer),
}

impl Occupancy {
    pub(crate) fn is_asking(&self) -> bool {
        self.asking_since.is_some()
    }

    pub(crate) fn asking_since(&self) -> Option<Timestamp> {
        self.asking_since
    }

    /// Begins a series; what was heard before does not count in it.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.asking_since = Some(now);
        self.unanswered = 0;
        self.rounds = 0;
        self.answer = None;
        self.answered_vips.clear();
        self.of_node = None;
        self.foreign = None;
    }

    pub(crate) fn stop(&mut self) {
        self.asking_since = None;
    }

    /// A round of questions goes out.
    pub(crate) fn asked(&mut self, now: Timestamp) {
        if self.unanswered == 0 {
            self.first_unanswered = now;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.rounds = self.rounds.saturating_add(1);
        self.gap = now.since(self.last_asked);
        self.last_asked = now;
        if let Some((_, rounds)) = &mut self.of_node {
            *rounds = rounds.saturating_add(1);
        }
        if let Some((_, rounds)) = &mut self.foreign {
            *rounds = rounds.saturating_add(1);
        }
    }

    /// The last round did not go out, or not all of it: its silence says nothing.
    pub(crate) fn unasked(&mut self) {
        // Told for each VIP of it.
        if self.unasked_at.replace(self.last_asked) == Some(self.last_asked) {
            return;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Some((_, rounds)) = &mut self.of_node {
            *rounds = rounds.saturating_sub(1);
        }
        if let Some((_, rounds)) = &mut self.foreign {
            *rounds = rounds.saturating_sub(1);
        }
    }

    /// Somebody answers: a node of the cluster, or a machine that is none.
    pub(crate) fn answered(&mut self, answer: Answer, by_node: bool) {
        self.last_answer = Some(answer);
        self.answer = Some(answer);
        self.answered_vips.insert(answer.vip);
        self.unanswered = 0;
        if by_node {
            self.of_node = Some((answer, 0));
            self.foreign = None;
        } else {
            self.foreign_at = Some(answer.at);
            self.foreign.get_or_insert((answer.at, 0));
        }
    }

    /// A node's answer, if it has not been followed by that many rounds without one.
    pub(crate) fn answer_of_node(&self, rounds: u32) -> Option<Answer> {
        self.of_node.filter(|&(_, since)| since <= rounds).map(|(answer, _)| answer)
    }

    /// How long nobody but foreign machines has answered; nothing before it has been so for that many rounds.
    pub(crate) fn foreign_for(&self, now: Timestamp, rounds: u32) -> Duration {
        self.foreign.filter(|&(_, since)| since >= rounds).map_or(Duration::ZERO, |(at, _)| now.since(at))
    }

    /// Unanswered rounds, and for how long.
    pub(crate) fn silence(&self, now: Timestamp) -> (u32, Duration) {
        if self.unanswered == 0 {
            return (0, Duration::ZERO);
        }
        (self.unanswered, now.since(self.first_unanswered))
    }

    /// The last questions were further apart than `limit`: much may have happened since. Said once: on a node that is
    /// always late they never are any closer.
    pub(crate) fn is_stale(&mut self, now: Timestamp, limit: Duration) -> bool {
        let stale = now.since(self.last_asked).max(self.gap) > limit;
        !std::mem::replace(&mut self.found_stale, stale) && stale
    }

    /// Nothing can be concluded at the moment whatever the answers are.
    pub(crate) fn pause(&mut self) {
        self.found_stale = false;
    }

    /// What this series says, given that `patience` must pass before silence counts.
    pub(crate) fn verdict(&self, now: Timestamp, patience: Duration) -> Verdict {
        if !self.is_asking() {
            return Verdict::Unknown;
        }
        let (rounds, silent_for) = self.silence(now);
        if rounds >= ROUNDS && silent_for >= patience {
            return Verdict::Free;
        }
        self.answer.map_or(Verdict::Unknown, Verdict::Occupied)
    }

    /// A foreign machine has answered since then.
    pub(crate) fn foreign_since(&self, since: Timestamp) -> bool {
        self.foreign_at.is_some_and(|at| at >= since)
    }

    /// The last answer, if it is news.
    pub(crate) fn answer_since(&self, since: Timestamp) -> Option<Answer> {
        self.last_answer.filter(|answer| answer.at >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn silence_counts_only_after_enough_rounds_and_time() {
        let patience = Duration::from_millis(6);
        let mut occupancy = Occupancy::default();
        assert_eq!(occupancy.verdict(ms(0), patience), Verdict::Unknown);
        occupancy.start(ms(0));
        for at in [0, 2] {
            occupancy.asked(ms(at));
        }
        assert_eq!(occupancy.verdict(ms(10), patience), Verdict::Unknown, "two rounds are not enough");
        occupancy.asked(ms(4));
        assert_eq!(occupancy.verdict(ms(5), patience), Verdict::Unknown, "5 ms are not enough");
        assert_eq!(occupancy.verdict(ms(6), patience), Verdict::Free);
    }

    #[test]
    fn a_round_that_did_not_go_out_is_no_silence() {
        let patience = Duration::from_millis(6);
        let mut occupancy = Occupancy::default();
        occupancy.start(ms(0));
        for at in 0..20 {
            occupancy.asked(ms(2 * at));
            occupancy.unasked();
            assert_eq!(occupancy.verdict(ms(2 * at + 1), patience), Verdict::Unknown);
        }
        for at in [40, 42, 44] {
            occupancy.asked(ms(at));
        }
        assert_eq!(
            occupancy.verdict(ms(45), patience),
            Verdict::Unknown,
            "silence begins with the first that went out"
        );
        assert_eq!(occupancy.verdict(ms(46), patience), Verdict::Free);
    }

    #[test]
    fn an_answer_starts_the_count_again() {
        let patience = Duration::from_millis(6);
        let answer = Answer { mac: Mac([2, 0, 0, 0, 0, 1]), vip: VipIndex(0), at: ms(5) };
        let mut occupancy = Occupancy::default();
        occupancy.start(ms(0));
        for at in [0, 2, 4] {
            occupancy.asked(ms(at));
        }
        occupancy.answered(answer, true);
        assert_eq!(occupancy.verdict(ms(6), patience), Verdict::Occupied(answer));
        for at in [6, 8, 10] {
            occupancy.asked(ms(at));
        }
        assert_eq!(occupancy.verdict(ms(11), patience), Verdict::Occupied(answer));
        assert_eq!(occupancy.verdict(ms(12), patience), Verdict::Free);
        occupancy.start(ms(13));
        assert_eq!(occupancy.verdict(ms(13), patience), Verdict::Unknown, "old answers do not count");
    }
}
