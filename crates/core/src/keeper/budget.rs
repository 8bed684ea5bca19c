//! How often the keeper corrects the kernel before it suspects a quarrel with another program.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Corrections allowed within one second.
const PER_SECOND: usize = 20;
const SECOND: Duration = Duration::from_secs(1);
/// A quarrel is over when nothing was to be corrected for this long.
const QUIET: Duration = Duration::from_secs(2);

/// Twenty corrections in any second; beyond that one per second, until nothing was to be corrected for a while.
#[derive(Debug, Default)]
pub struct Budget {
    recent: VecDeque<Timestamp>,
    asked: Option<Timestamp>,
    quarrel: bool,
}

/// The answer to [`Budget::ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Go on.
    Yes,
    /// The last one for this second: say so in the log.
    Last,
    /// Not before this.
    NotBefore(Timestamp),
}

impl Budget {
    /// May something be corrected at `now`? If so, it counts as done.
    pub fn ask(&mut self, now: Timestamp) -> Permission {
        let quiet = self.asked.replace(now).is_none_or(|last| now.since(last) > QUIET);
        while self.recent.front().is_some_and(|at| now.since(*at) >= SECOND) {
            self.recent.pop_front();
        }
        if quiet {
            self.quarrel = false;
        }
        if let (true, Some(last)) = (self.quarrel, self.recent.back()) {
            return Permission::NotBefore(*last + SECOND);
        }
        self.recent.push_back(now);
        if self.recent.len() >= PER_SECOND && !self.quarrel {
            self.quarrel = true;
            return Permission::Last;
        }
        Permission::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(100_000 + millis)
    }

    #[test]
    fn twenty_in_a_second_then_one_per_second_until_it_is_quiet() {
        let mut budget = Budget::default();
        for i in 0..19 {
            assert_eq!(budget.ask(at(i)), Permission::Yes, "{i}");
        }
        assert_eq!(budget.ask(at(19)), Permission::Last);
        assert_eq!(budget.ask(at(20)), Permission::NotBefore(at(1019)));
        assert_eq!(budget.ask(at(500)), Permission::NotBefore(at(1019)));
        assert_eq!(budget.ask(at(1019)), Permission::Yes);
        assert_eq!(budget.ask(at(1020)), Permission::NotBefore(at(2019)));
        assert_eq!(budget.ask(at(2019)), Permission::Yes);
        assert_eq!(budget.ask(at(3030)), Permission::Yes, "a late correction is still one per second");
        assert_eq!(budget.ask(at(3031)), Permission::NotBefore(at(4030)));
        assert_eq!(budget.ask(at(5100)), Permission::Yes, "after quiet");
        assert_eq!(budget.ask(at(5101)), Permission::Yes);
    }

    #[test]
    fn a_slow_trickle_is_never_a_quarrel() {
        let mut budget = Budget::default();
        for i in 0..200 {
            assert_eq!(budget.ask(at(i * 60)), Permission::Yes, "{i}");
        }
    }
}
