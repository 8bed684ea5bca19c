//! How late timers were: a histogram of fixed size that costs one addition per wake-up.

use std::time::Duration;

/// Sub-buckets per power of two: quantiles are right to within 1/16.
const STEPS: usize = 16;
/// Powers of two above the first `STEPS` microseconds.
const DOUBLINGS: usize = 24;

/// Counts of latenesses in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; STEPS * (DOUBLINGS + 1)].into_boxed_slice(),
            count: 0,
            sum: Duration::ZERO,
            max: Duration::ZERO,
        }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, late: Duration) {
        let micros = usize::try_from(late.as_micros()).unwrap_or(usize::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(late);
        self.max = self.max.max(late);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub(crate) fn sum(&self) -> Duration {
        self.sum
    }

    /// How many fall under each of `bounds`, which grow, and how many beyond them. A bucket that a bound divides counts above.
    pub(crate) fn counts<const N: usize>(&self, bounds: &[Duration; N]) -> ([u64; N], u64) {
        let (mut counts, mut beyond) = ([0; N], 0);
        for (index, count) in self.buckets.iter().enumerate() {
            let place = bounds.partition_point(|bound| *bound < Duration::from_micros(upper(index)));
            *counts.get_mut(place).unwrap_or(&mut beyond) += count;
        }
        (counts, beyond)
    }

    /// The largest.
    pub(crate) fn max(&self) -> Duration {
        self.max
    }

    /// The smallest lateness that `permille` of a thousand do not exceed (to within 1/16, never above the maximum).
    pub(crate) fn quantile(&self, permille: u64) -> Duration {
        let wanted = (self.count * permille).div_ceil(1000);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return Duration::from_micros(upper(index)).min(self.max);
            }
        }
        Duration::ZERO
    }
}

fn bucket(micros: usize) -> usize {
    if micros < STEPS {
        return micros;
    }
    let doubling = usize::try_from(micros.ilog2() - STEPS.ilog2()).unwrap_or(0);
    let step = (micros >> doubling) - STEPS;
    (STEPS * (doubling + 1) + step).min(STEPS * (DOUBLINGS + 1) - 1)
}

/// The largest number of microseconds that falls into a bucket.
fn upper(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let (doubling, step) = (index / STEPS - 1, index % STEPS);
    (((STEPS + step + 1) << doubling) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_that_bounds_it() {
        let mut last = 0;
        for micros in (0..5000).chain((5000..100_000_000).step_by(99_991)) {
            let index = bucket(micros);
            assert!(index >= last, "{micros}");
            last = index;
            let upper = upper(index);
            assert!(
                upper >= micros as u64 && upper <= micros as u64 + micros as u64 / 16,
                "{micros} in {index}: {upper}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(500), Duration::ZERO);
        for micros in 1..=1000 {
            histogram.add(Duration::from_micros(micros));
        }
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.max(), Duration::from_micros(1000));
        let half = histogram.quantile(500).as_micros();
        assert!((500..=532).contains(&half), "{half}");
        assert_eq!(histogram.quantile(1000), Duration::from_micros(1000));
        histogram.add(Duration::from_secs(3600));
        assert_eq!(histogram.max(), Duration::from_secs(3600));
    }
}
