//! From single looks to a verdict.

/// Counts looks.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    fall: u32,
    rise: u32,
    /// `None` until there is a verdict.
    passing: Option<bool>,
    /// Looks in a row that speak against the verdict.
    against: u32,
    last: Option<bool>,
}

impl Tally {
    pub(crate) fn new(fall: u32, rise: u32, initially_passing: bool) -> Self {
        let passing = initially_passing.then_some(true);
        Self { fall: fall.max(1), rise: rise.max(1), passing, against: 0, last: None }
    }

    /// Adds a look between two intervals, because something has stirred. That all is as it was is no further look in a row:
    /// one change may stir many times.
    pub(crate) fn add_between(&mut self, good: bool) -> Option<bool> {
        if self.last == Some(good) { None } else { self.add(good) }
    }

    /// Adds a look; the verdict if it has changed. Before there is one, the first good look is enough.
    pub(crate) fn add(&mut self, good: bool) -> Option<bool> {
        self.last = Some(good);
        if self.passing == Some(good) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = match (self.passing, good) {
            (None, true) => 1,
            (_, true) => self.rise,
            (_, false) => self.fall,
        };
        if self.passing.is_none() && good {
            self.against = enough;
        }
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.passing = Some(good);
        Some(good)
    }

    pub(crate) fn passing(&self) -> Option<bool> {
        self.passing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(mut tally: Tally, looks: &str) -> String {
        let verdict = |look| match tally.add(look == '+') {
            Some(true) => 'P',
            Some(false) => 'F',
            None => '.',
        };
        looks.chars().map(verdict).collect()
    }

    #[test]
    fn falls_and_rises() {
        assert_eq!(verdicts(Tally::new(2, 3, false), "+-+--+-++++-"), "P...F....P..");
        assert_eq!(verdicts(Tally::new(1, 1, false), "--+-"), "F.PF");
        assert_eq!(verdicts(Tally::new(3, 2, true), "++--+---++"), ".......F.P");
        assert_eq!(verdicts(Tally::new(3, 2, false), "--+"), "..P", "the first good look is enough");
        assert_eq!(verdicts(Tally::new(0, 0, false), "-+"), "FP", "never none at all");
    }

    #[test]
    fn what_stirs_many_times_counts_once() {
        let mut tally = Tally::new(3, 2, true);
        assert_eq!([false; 9].map(|look| tally.add_between(look)), [None; 9]);
        assert_eq!((tally.add(false), tally.add_between(false), tally.add(false)), (None, None, Some(false)));
        assert_eq!(
            (tally.add_between(true), tally.add_between(true), tally.add(true)),
            (None, None, Some(true))
        );
    }
}
