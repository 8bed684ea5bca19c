//! When the lifetime of mounted addresses is renewed.

use std::time::Duration;

use super::mounts::BATCH;
use crate::time::Timestamp;
use crate::tuning::beat_interval;

/// Where there is no lease, what is measured by it is measured by this.
pub const WITHOUT_LEASE: Duration = Duration::from_secs(6);
/// Renewals are never closer together than this.
const CLOSEST: Duration = Duration::from_millis(250);

/// What it takes the kernel to renew an IPv4 address, and an IPv6 address, for each of which Linux goes through the multicast
/// groups of all others as well (`ipv6_mc_up`): measured on a machine that is not fast, and rounded up.
const FOR_V4: Duration = Duration::from_micros(20);
const FOR_V6: Duration = Duration::from_micros(30);
const FOR_V6_BESIDE_ANOTHER: Duration = Duration::from_nanos(250);
/// Renewals take up to one part in so many of all time.
const SHARE: u32 = 25;
/// One request to the kernel takes no longer than about this: it holds the kernel's lock all the while, and nothing else gets the
/// processor where the kernel cannot be preempted.
const AT_ONCE: Duration = Duration::from_millis(2);
/// But it is for no fewer VIPs than this.
const LEAST: usize = 4;
/// A lifetime is not made longer than this.
const LONGEST: Duration = Duration::from_secs(600);
/// With fewer VIPs what a renewal took says more about who else had the kernel's lock.
const MANY: usize = 256;

/// Renews every third of the lease, but only on the word of a brain that knows of every gap. Where there are so many VIPs that the
/// kernel would have little else to do, they live longer than was configured, and are renewed as rarely.
#[derive(Debug)]
pub struct Lease {
    lifetime: Option<Duration>,
    every: Duration,
    /// What a renewal of all that is wanted is reckoned to take.
    reckoned: Duration,
    /// Of how many VIPs.
    carried: usize,
    /// What the last ones took, where there were many.
    measured: [Duration; 3],
    due: Timestamp,
    /// Until the next renewal, when the last one began.
    period: Duration,
    /// A renewal of many is to be over by then.
    spread: Duration,
    /// A brain that has not been heard for this long may be hung.
    fresh: Duration,
    /// When the last beat came, if it said that the lease may be renewed.
    allowed: Option<Timestamp>,
    /// Number of the last gap; beats must carry it.
    epoch: u64,
    /// A gap that no beat has carried yet.
    gap: bool,
    /// Lifetime for a time in which nobody is here to renew.
    window: Option<Duration>,
    /// What was mounted with another lifetime is to get the one that is configured.
    restore: bool,
}

impl Lease {
    /// Without a lifetime addresses are mounted for ever and nothing is renewed. The brain beats as often as `heartbeat`
    /// demands.
    pub fn new(lifetime: Option<Duration>, heartbeat: Duration, now: Timestamp) -> Self {
        let every = lifetime.map_or(Duration::from_secs(1), |l| (l / 3).max(CLOSEST));
        let fresh = beat_interval(heartbeat) * 2;
        Self {
            lifetime,
            every,
            reckoned: Duration::ZERO,
            carried: 0,
            measured: [Duration::ZERO; 3],
            due: now + every,
            period: every,
            spread: every / 2,
            fresh,
            allowed: None,
            epoch: 0,
            gap: false,
            window: None,
            restore: false,
        }
    }

    /// The lifetime given at every mount and renewal.
    pub fn lifetime(&self) -> Option<Duration> {
        self.window.or_else(|| Some(self.lifetime?.max(self.needed())))
    }

    /// So many VIPs are wanted from now on.
    pub fn carry(&mut self, v4: usize, v6: usize) {
        let before = self.needed();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let beside = FOR_V6_BESIDE_ANOTHER.saturating_mul(count(v6)).saturating_mul(count(v6));
        self.reckoned =
            FOR_V4.saturating_mul(count(v4)) + FOR_V6.saturating_mul(count(v6)).saturating_add(beside);
        self.carried = v4 + v6;
        if self.carried < MANY {
            self.measured = [Duration::ZERO; 3];
        }
        if self.needed() > before && self.stretched().is_some() {
            // What is there already is to live until its turn comes, which is later from now on.
            self.due = Timestamp::ZERO;
        }
    }

    /// A renewal of so many VIPs, of all of them, took this long.
    pub fn took(&mut self, span: Duration, vips: usize) {
        if vips >= MANY {
            self.measured.rotate_left(1);
            self.measured[2] = span;
        }
    }

    /// So many VIPs in one request to the kernel.
    pub fn batch(&self) -> usize {
        let carried = u128::try_from(self.carried).unwrap_or(u128::MAX).max(1);
        let each = (self.reckoned.as_nanos() / carried).max(1);
        usize::try_from(AT_ONCE.as_nanos() / each).unwrap_or(BATCH).clamp(LEAST, BATCH)
    }

    /// The pause between two of so many batches of a renewal: they do not come all at once, and nothing else waits for all
    /// of them.
    pub fn pause(&self, batches: usize) -> Duration {
        self.spread / u32::try_from(batches.max(1)).unwrap_or(u32::MAX)
    }

    /// In whole seconds, the least lifetime with which renewals do not take more than their share. One renewal that took long
    /// is no reason: somebody else may have had the kernel's lock.
    fn needed(&self) -> Duration {
        let measured = self.measured.iter().min().copied().unwrap_or_default();
        let needed = self.reckoned.max(measured).saturating_mul(3 * SHARE).min(LONGEST);
        Duration::from_secs(needed.as_secs() + u64::from(needed.subsec_nanos() > 0))
    }

    /// What is configured, and what it is because there are so many VIPs, where that is more.
    pub fn stretched(&self) -> Option<(Duration, Duration)> {
        let configured = self.lifetime?;
        (self.needed() > configured).then(|| (configured, self.needed()))
    }

    /// This keeper is about to make way: what is mounted now lives for `window`, which is whole seconds, and is not renewed.
    pub fn extend(&mut self, window: Duration) {
        self.window = Some(window);
    }

    /// What was extended, by this keeper or an earlier one, is to live as long as is configured again: the next renewal
    /// is due at once, and there is one even without a lease.
    pub fn restore(&mut self, now: Timestamp) {
        self.window = None;
        self.restore = true;
        self.due = now;
    }

    fn renews(&self) -> bool {
        self.window.is_none() && (self.lifetime.is_some() || self.restore)
    }

    /// The longest that the keeper may be away before it has to ask the brain again.
    pub fn patience(&self) -> Duration {
        self.lifetime.map_or(Duration::from_secs(1), |l| (l / 2).min(Duration::from_secs(1)))
    }

    /// How often the brain is told that its keeper is at work.
    pub fn pulse(&self) -> Duration {
        let lifetime = self.lifetime.unwrap_or(WITHOUT_LEASE);
        (lifetime / 6).clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// Number of the last gap.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The keeper was away: nothing is renewed until a beat carries the number answered here.
    pub fn away(&mut self) -> u64 {
        self.epoch += 1;
        self.gap = true;
        self.allowed = None;
        self.epoch
    }

    /// A beat came.
    pub fn beat(&mut self, renew: bool, epoch: u64, now: Timestamp) {
        if self.gap && epoch == self.epoch {
            self.gap = false;
        }
        self.allowed = (renew && !self.gap && epoch == self.epoch).then_some(now);
    }

    /// No brain has shown yet that it knows of the last gap.
    pub fn has_gap(&self) -> bool {
        self.gap
    }

    /// The brain is gone.
    pub fn forbid(&mut self) {
        self.allowed = None;
    }

    /// Whether addresses may be renewed. A word does not hold for longer than until the next renewal: a brain that has
    /// fallen silent allows nothing.
    pub fn allowed(&self, now: Timestamp) -> bool {
        self.allowed.is_some_and(|at| now.since(at) <= self.every)
    }

    /// Whether what somebody else has removed may be mounted again unasked. The brain must have been heard just now: if it
    /// hangs, a peer may be about to take what does not answer.
    pub fn heals(&self, now: Timestamp) -> bool {
        self.allowed.is_some_and(|at| now.since(at) <= self.fresh)
    }

    /// Whether to renew now; if so, the next time is set.
    pub fn take_due(&mut self, now: Timestamp) -> bool {
        if !self.renews() || !self.allowed(now) || now < self.due {
            return false;
        }
        self.restore = false;
        let period = self.every.max(self.lifetime().map_or(self.every, |lifetime| lifetime / 3));
        // What is mounted may still have a lifetime of before.
        self.spread = period.min(self.period) / 2;
        self.period = period;
        self.due = now + period;
        true
    }

    /// When to look again; `None` while there is nothing to renew.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        (self.renews() && self.allowed(now)).then_some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(lifetime: Option<Duration>, now: Timestamp) -> Lease {
        Lease::new(lifetime, Duration::from_millis(100), now)
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(100_000 + millis)
    }

    #[test]
    fn renews_every_third_while_allowed() {
        let mut lease = lease(Some(Duration::from_secs(3)), at(0));
        assert!(!lease.take_due(at(1500)), "no beat yet");
        lease.beat(true, 0, at(1500));
        assert!(lease.take_due(at(1500)));
        assert!(!lease.take_due(at(2400)));
        assert!(lease.take_due(at(2500)));
        lease.beat(false, 0, at(8999));
        assert!(!lease.take_due(at(9000)));
        assert_eq!(lease.next(at(9000)), None);
        lease.beat(true, 0, at(9000));
        assert!(lease.take_due(at(9000)), "at once when it is allowed again");
    }

    #[test]
    fn the_word_of_a_brain_that_falls_silent_does_not_last() {
        let mut lease = lease(Some(Duration::from_secs(3)), at(0));
        lease.beat(true, 0, at(0));
        assert!(lease.take_due(at(1000)));
        assert_eq!(lease.next(at(1000)), Some(at(2000)));
        assert!(!lease.allowed(at(1001)));
        assert!(lease.heals(at(100)));
        assert!(!lease.heals(at(101)), "long before its lease ends");
        assert!(!lease.take_due(at(2000)));
        assert_eq!(lease.next(at(2000)), None, "nothing to wait for but a beat");
    }

    #[test]
    fn a_gap_closes_it_until_a_beat_knows_of_the_gap() {
        let mut lease = lease(Some(Duration::from_secs(1)), at(0));
        lease.beat(true, 0, at(0));
        let epoch = lease.away();
        lease.beat(true, 0, at(5000));
        assert!(!lease.take_due(at(5000)), "a beat from before the gap");
        assert!(lease.has_gap());
        lease.beat(false, epoch, at(5000));
        assert!(!lease.take_due(at(5000)), "the brain is still asking around");
        assert!(!lease.has_gap(), "but it knows, and what it orders now may be mounted");
        lease.beat(true, epoch, at(5000));
        assert!(lease.take_due(at(5000)));
    }

    #[test]
    fn what_was_extended_is_restored_at_once_and_only_on_a_word() {
        for configured in [Some(Duration::from_secs(3)), None] {
            let mut lease = lease(configured, at(0));
            lease.beat(true, 0, at(5000));
            lease.extend(Duration::from_secs(30));
            assert_eq!(lease.lifetime(), Some(Duration::from_secs(30)));
            assert!(!lease.take_due(at(5000)), "it would outlive what was promised");
            assert_eq!(lease.next(at(5000)), None);
            lease.forbid();
            lease.restore(at(6000));
            assert_eq!(lease.lifetime(), configured);
            assert!(!lease.take_due(at(6000)), "no brain has said a word");
            lease.beat(true, 0, at(6001));
            assert_eq!(lease.next(at(6001)), Some(at(6000)));
            assert!(lease.take_due(at(6001)));
            assert!(!lease.take_due(at(6002)), "once");
        }
    }

    #[test]
    fn very_many_live_longer_and_are_renewed_as_rarely() {
        let two = Some(Duration::from_secs(2));
        let mut lease = lease(two, at(0));
        lease.carry(500, 150);
        assert_eq!((lease.lifetime(), lease.stretched()), (two, None));
        assert_eq!(lease.batch(), BATCH);
        lease.carry(0, 4000);
        assert_eq!(lease.batch(), LEAST, "each of them takes a millisecond");
        let long = lease.lifetime().expect("a lifetime");
        assert!((200..400).contains(&long.as_secs()), "{long:?}");
        assert_eq!(lease.stretched(), Some((Duration::from_secs(2), long)));
        lease.beat(true, 0, at(100));
        assert!(lease.take_due(at(100)), "what is there already, at once");
        assert!(lease.pause(63) < Duration::from_millis(6), "and soon: it may have two seconds");
        lease.beat(true, 0, at(100) + long / 3);
        assert!(lease.take_due(at(100) + long / 3));
        assert!(lease.pause(63) > Duration::from_millis(200), "with time to spare between two batches");
        let later = at(60_000) + long / 3;
        lease.beat(true, 0, later);
        assert_eq!(lease.next(later), Some(at(100) + long / 3 * 2));
        assert!(
            !lease.allowed(later + Duration::from_secs(1)),
            "a brain is believed for no longer than without them"
        );
        lease.extend(Duration::from_secs(30));
        assert_eq!(lease.lifetime(), Some(Duration::from_secs(30)));
        lease.restore(at(900_000));
        lease.carry(0, 1000);
        assert_eq!(lease.batch(), 7);
        lease.carry(1, 1);
        assert_eq!(lease.lifetime(), two);
    }

    #[test]
    fn a_kernel_that_is_always_slow_is_believed_and_one_renewal_is_not() {
        let two = Some(Duration::from_secs(2));
        let mut lease = lease(two, at(0));
        lease.carry(600, 0);
        for span in [900, 20, 900, 900] {
            lease.took(Duration::from_millis(span), 600);
            assert_eq!(lease.lifetime(), two, "once is no reason");
        }
        lease.took(Duration::from_millis(500), 600);
        assert_eq!(lease.lifetime(), Some(Duration::from_secs(38)));
        lease.took(Duration::from_millis(20), 600);
        assert_eq!(lease.lifetime(), two);
        (0..5).for_each(|_| lease.took(Duration::from_secs(1), 3));
        assert_eq!(lease.lifetime(), two, "few VIPs say nothing");
    }

    #[test]
    fn without_a_lease_nothing_is_renewed() {
        let mut lease = lease(None, at(0));
        lease.beat(true, 0, at(60_000));
        assert!(!lease.take_due(at(60_000)));
        assert!(lease.allowed(at(60_000)));
    }
}
