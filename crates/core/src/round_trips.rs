//! Round-trip times, counted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many heartbeats were echoed after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoundTrips {
    /// Those no longer than the bound in the same place, and longer than the one before it; last those beyond all bounds.
    pub counts: [u64; RoundTrips::BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl RoundTrips {
    /// Upper bounds: from a LAN's to those at which no pace holds.
    pub const BOUNDS: [Duration; 11] = [
        Duration::from_micros(50),
        Duration::from_micros(100),
        Duration::from_micros(200),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(20),
        Duration::from_millis(50),
        Duration::from_millis(100),
    ];

    pub(crate) fn add(&mut self, rtt: Duration) {
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < rtt)] += 1;
        self.sum = self.sum.saturating_add(rtt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        let mut trips = RoundTrips::default();
        for micros in [0, 50, 51, 100_000, 100_001] {
            trips.add(Duration::from_micros(micros));
        }
        assert_eq!(trips.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(trips.sum, Duration::from_micros(200_102));
    }
}
