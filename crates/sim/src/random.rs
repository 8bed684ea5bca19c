//! Numbers drawn from a seed: a run can be repeated.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// `purpose` keeps streams apart that begin with the same seed.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.next() % 1000 < per_mille
    }

    /// A span below `limit`.
    pub(crate) fn upto(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.next() % nanos) }
    }

    /// A span in the range, short ones as likely as long ones: each doubling has the same chance.
    pub(crate) fn spread(&mut self, from: Duration, to: Duration) -> Duration {
        let mut top = from;
        let mut doublings = 0;
        while top < to {
            top *= 2;
            doublings += 1;
        }
        let base = from * 2u32.saturating_pow(u32::try_from(self.below(doublings.max(1))).unwrap_or(0));
        (base + self.upto(base)).min(to)
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// One of several, each with its weight.
    pub(crate) fn weigh<T: Copy>(&mut self, among: &[(u32, T)]) -> T {
        let total: u32 = among.iter().map(|(weight, _)| weight).sum();
        let mut at = self.next() % u64::from(total.max(1));
        for &(weight, value) in among {
            if at < u64::from(weight) {
                return value;
            }
            at -= u64::from(weight);
        }
        among[0].1
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}
