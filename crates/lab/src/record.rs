//! What a client has seen of one VIP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A probe younger than this is not called lost yet.
pub const GRACE: Duration = Duration::from_millis(50);

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the client read it, on `CLOCK_MONOTONIC`.
    pub at: Instant,
    /// Name of the host that answered.
    pub by: Arc<str>,
}

/// One request for a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was sent.
    pub sent: Instant,
    /// False if the client's own kernel refused to send it, for want of a route or a neighbour.
    pub left: bool,
    /// The first answer to it.
    pub answer: Option<Answer>,
}

/// Every probe for one VIP. Questions about times are answered for what has come in so far.
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) vip: IpAddr,
    pub(crate) probes: Vec<Probe>,
    /// When a probe was due, and how late it was sent.
    pub(crate) late: Vec<(Instant, Duration)>,
}

/// A stretch without any answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The last answer before, or the moment from which the question was asked.
    pub from: Instant,
    /// The first answer after; `None` if there has been none yet.
    pub to: Option<Instant>,
    /// From the one to the other, or until now. Never below the period of the probes: a client that loses nothing
    /// sees one period, 1 ms.
    pub duration: Duration,
    /// Who answered before and after.
    pub by: (Option<Arc<str>>, Option<Arc<str>>),
}

impl Record {
    /// Which VIP it is about.
    pub fn vip(&self) -> IpAddr {
        self.vip
    }

    /// All probes in the order in which they were sent.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// All answers since then, in the order in which they came.
    pub fn answers(&self, since: Instant) -> Vec<&Answer> {
        let mut answers: Vec<&Answer> = self
            .probes
            .iter()
            .filter_map(|probe| probe.answer.as_ref())
            .filter(|answer| answer.at >= since)
            .collect();
        answers.sort_by_key(|answer| answer.at);
        answers
    }

    /// The longest time between two successive answers, the second of which came after `since`: from the last answer
    /// before the outage to the first one after it. If none has come since a longer time, that is the outage.
    pub fn longest_outage(&self, since: Instant) -> Outage {
        let now = Instant::now();
        let before =
            self.probes.iter().filter_map(|probe| probe.answer.as_ref()).filter(|answer| answer.at < since);
        let mut last = before.max_by_key(|answer| answer.at);
        let mut from = last.map_or(since, |answer| answer.at);
        let mut longest: Option<Outage> = None;
        let mut consider = |from: Instant, to: Option<&Answer>, last: Option<&Answer>| {
            let duration = to.map_or(now, |answer| answer.at).saturating_duration_since(from);
            if longest.as_ref().is_none_or(|known| duration > known.duration) {
                let by = (last.map(|answer| Arc::clone(&answer.by)), to.map(|answer| Arc::clone(&answer.by)));
                longest = Some(Outage { from, to: to.map(|answer| answer.at), duration, by });
            }
        };
        for answer in self.answers(since) {
            consider(from, Some(answer), last);
            (from, last) = (answer.at, Some(answer));
        }
        consider(from, None, last);
        longest.unwrap_or(Outage { from: since, to: None, duration: Duration::ZERO, by: (None, None) })
    }

    /// Probes sent in this stretch of time that nobody has answered. Those of the last [`GRACE`] are not judged.
    pub fn lost(&self, since: Instant, until: Instant) -> usize {
        let until = Instant::now().checked_sub(GRACE).map_or(until, |judged| until.min(judged));
        self.sent(since, until).filter(|probe| probe.answer.is_none()).count()
    }

    /// Probes sent in this stretch of time that this host has answered.
    pub fn answered_by(&self, host: &str, since: Instant, until: Instant) -> usize {
        self.sent(since, until)
            .filter(|probe| probe.answer.as_ref().is_some_and(|answer| &*answer.by == host))
            .count()
    }

    /// Probes sent in this stretch of time that another host than this one has answered.
    pub fn answered_by_others(&self, host: &str, since: Instant, until: Instant) -> usize {
        self.sent(since, until)
            .filter(|probe| probe.answer.as_ref().is_some_and(|answer| &*answer.by != host))
            .count()
    }

    /// The first answer of this host since then.
    pub fn first_answer_by(&self, host: &str, since: Instant) -> Option<Instant> {
        self.answers(since).into_iter().find(|answer| &*answer.by == host).map(|answer| answer.at)
    }

    /// How late the client itself was at worst since then; it may have missed answers that came in time.
    pub fn lateness(&self, since: Instant) -> Duration {
        self.late.iter().filter(|(due, _)| *due >= since).map(|(_, late)| *late).max().unwrap_or_default()
    }

    fn sent(&self, since: Instant, until: Instant) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(move |probe| probe.sent >= since && probe.sent < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));

    /// (sent, answered, by) in milliseconds, all of it a second ago.
    fn record(probes: &[(u64, Option<(u64, &str)>)]) -> (Record, Instant) {
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let at = |ms| start + Duration::from_millis(ms);
        let probes = probes
            .iter()
            .map(|&(sent, answer)| Probe {
                sent: at(sent),
                left: true,
                answer: answer.map(|(ms, by)| Answer { at: at(ms), by: by.into() }),
            })
            .collect();
        (Record { vip: VIP, probes, late: vec![(at(2), Duration::from_millis(7))] }, start)
    }

    #[test]
    fn outage_is_from_the_last_answer_before_to_the_first_after() {
        let (record, start) = record(&[
            (0, Some((1, "alpha"))),
            (1, Some((2, "alpha"))),
            (2, None),
            (3, None),
            (4, Some((24, "bravo"))), // waited for the neighbour
            (5, Some((23, "bravo"))),
            (990, Some((991, "bravo"))),
        ]);
        let at = |ms| start + Duration::from_millis(ms);
        let early = record.longest_outage(at(0));
        assert_eq!((early.from, early.to), (at(24), Some(at(991))));
        assert_eq!(record.lost(start, at(1000)), 2);
        assert_eq!(record.lost(at(3), at(1000)), 1);
        assert_eq!(record.answered_by("bravo", start, at(1000)), 3);
        assert_eq!(record.answered_by_others("bravo", start, at(1000)), 2);
        assert_eq!(record.first_answer_by("bravo", start), Some(at(23)));
        assert_eq!(record.lateness(start), Duration::from_millis(7));
        assert_eq!(record.lateness(at(3)), Duration::ZERO);
    }

    #[test]
    fn an_outage_that_lasts_counts_until_now() {
        let (record, start) = record(&[(0, Some((1, "alpha"))), (1, None)]);
        let outage = record.longest_outage(start);
        assert_eq!((outage.from, outage.to), (start + Duration::from_millis(1), None));
        assert!(outage.duration >= Duration::from_millis(900));
        assert_eq!(outage.by, (Some("alpha".into()), None));
    }

    #[test]
    fn the_answer_before_the_question_counts_as_the_last_one_before() {
        let (record, start) =
            record(&[(0, Some((1, "alpha"))), (20, Some((21, "bravo"))), (990, Some((999, "bravo")))]);
        let at = |ms| start + Duration::from_millis(ms);
        let outage = record.longest_outage(at(10));
        assert_eq!((outage.from, outage.to), (at(21), Some(at(999))));
        let (record, _) = self::record(&[(0, Some((1, "alpha"))), (20, Some((21, "bravo")))]);
        assert!(record.answers(start).len() == 2);
    }
}
