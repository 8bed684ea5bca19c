//! What was done, how long it took and how it ended.

use std::process::ExitCode;
use std::time::Instant;

/// Counts of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// Steps and tests so far.
#[derive(Default)]
pub(crate) struct Report {
    counts: Counts,
    failed: Vec<String>,
}

impl Report {
    /// Runs a step, showing its name, duration and end. An error may have several lines.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> Result<(), String>) {
        self.tests(name, || (Counts::default(), run()));
    }

    /// Runs a step that runs tests.
    pub(crate) fn tests(
        &mut self,
        name: impl Into<String>,
        run: impl FnOnce() -> (Counts, Result<(), String>),
    ) {
        let name = name.into();
        println!("\n== {name}");
        let start = Instant::now();
        let (counts, outcome) = run();
        let took = start.elapsed().as_secs_f64();
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        match outcome {
            Ok(()) => println!("== {name}: ok, {took:.1} s"),
            Err(why) => {
                println!("{why}\n== {name}: FAILED, {took:.1} s");
                self.failed.push(name);
                // So that the closing line never looks better than the outcome.
                if counts.failed == 0 {
                    self.counts.failed += 1;
                }
            }
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Prints the closing lines: the steps that failed, if any, and how many tests passed and failed. A step
    /// that failed otherwise than by failed tests counts as one failed test.
    pub(crate) fn close(self) -> ExitCode {
        println!();
        if self.has_failed() {
            println!("failed: {}", self.failed.join(", "));
        }
        println!("{} passed, {} failed", self.counts.passed, self.counts.failed);
        if self.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_a_failure() {
        let mut report = Report::default();
        report.step("good", || Ok(()));
        report.tests("tests", || (Counts { passed: 5, failed: 0 }, Ok(())));
        assert!(!report.has_failed());
        assert_eq!(report.counts, Counts { passed: 5, failed: 0 });

        report.step("bad", || Err("why".into()));
        report.tests("more tests", || (Counts { passed: 4, failed: 2 }, Err("failed".into())));
        assert_eq!(report.counts, Counts { passed: 9, failed: 3 });

        report.tests("passed over", || (Counts { passed: 1, failed: 0 }, Err("ignored".into())));
        assert_eq!(report.counts, Counts { passed: 10, failed: 4 });
        assert_eq!(report.failed, ["bad", "more tests", "passed over"]);
    }
}
