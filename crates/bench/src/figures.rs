//! What was measured in one run.

use serde::{Deserialize, Serialize};

/// Times are milliseconds, as the client or the kernels saw them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Probes (one a millisecond) that nobody answered while the fault lasted.
    pub(crate) lost: f64,
    /// Longest time without an answer; zero if no probe was lost.
    pub(crate) outage: f64,
    /// From the fault until another node had the VIP; `None`: none had it in the time that was watched.
    pub(crate) moved: Option<f64>,
    /// Time with the VIP on two nodes that could be reached; `None` where it always is on all.
    pub(crate) two_holders: Option<f64>,
    /// How long the node that failed still had the VIP; `None`: to the end of the time that was watched.
    pub(crate) stale: Option<f64>,
    /// Probes lost when the fault was undone.
    pub(crate) lost_later: f64,
    /// The time that was watched.
    pub(crate) watched: f64,
    /// The client itself was late: figures may be this machine's.
    pub(crate) late: bool,
    /// What nothing costs; of the fault `idle` only.
    pub(crate) cost: Option<Cost>,
}

/// What the first two nodes cost while nothing happens: of a pair, the holder and its standby.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Of one core, in percent: holder, standby.
    pub(crate) cpu: [f64; 2],
    /// MiB resident, shared pages counted in each process: holder, standby.
    pub(crate) memory: [f64; 2],
    /// Frames that all nodes send in a second.
    pub(crate) frames: f64,
    /// Bytes that all nodes send in a second, Ethernet headers included.
    pub(crate) bytes: f64,
}

/// How late a daemon woke up, by its own account; times are microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// Times that it was late by more than half a heartbeat.
    pub(crate) late: f64,
    pub(crate) wakeups: f64,
    /// Half of all times were no later than this.
    pub(crate) half: f64,
    /// 999 of a thousand were not.
    pub(crate) most_of_all: f64,
    pub(crate) worst: f64,
}

/// The middle one, and the extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { least, median, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some(Spread { least: 3.0, median: 3.0, most: 3.0 }));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { least: 1.0, median: 3.0, most: 9.0 }));
    }
}
