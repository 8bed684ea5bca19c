//! Runs of the simulator, built as released.

use std::process::Command;
use std::time::Duration;

use crate::metadata::Metadata;
use crate::report::{Counts, Report};
use crate::suite;

/// What the tests simulate, and what a night does.
const TESTS: Duration = Duration::from_secs(90);
const NIGHT: Duration = Duration::from_secs(8 * 3600);
/// Where shrunk scenarios go: whatever lies there is run with the tests.
const KEPT: &str = "crates/sim/tests/scenarios";

/// The commit that is checked out, and the first of the seeds that are its own.
struct Commit {
    name: String,
    seed: u64,
}

impl Commit {
    /// Where there is no repository, nothing has a name and the seeds are always the same.
    fn current(metadata: &Metadata) -> Self {
        let git = |arguments: &[&str]| {
            let output = suite::prepare(Command::new("git"), metadata).args(arguments).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            output.status.success().then_some(text)
        };
        let mut name = git(&["rev-parse", "--verify", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
        let seed = first_seed(&name);
        if git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()) {
            name.push_str(", changed");
        }
        Self { name, seed }
    }
}

/// Thirteen digits of the commit's name, so that the seeds of two commits do not meet.
fn first_seed(commit: &str) -> u64 {
    commit.get(..13).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// `cargo xtask sim`: many seeds.
pub(crate) fn many(arguments: &[&str], metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("simulator", || simulate(arguments, metadata));
    report
}

/// `cargo xtask repro`: one seed or file, told, shrunk and kept.
pub(crate) fn repro(arguments: &[&str], metadata: &Metadata) -> Report {
    let mut report = Report::default();
    report.step("repro", || {
        let commit = Commit::current(metadata);
        let kept = metadata.workspace_root.join(KEPT);
        let kept = kept.to_string_lossy();
        run(metadata, &[&["one", "--commit", &commit.name, "--keep-in", &kept], arguments].concat())
    });
    report
}

/// The first seeds of all, as many as fit the time: the same for every commit, so that one that fails is to blame. All of
/// them together count as one test.
pub(crate) fn regression(metadata: &Metadata) -> (Counts, Result<(), String>) {
    together(TESTS, &["--first", "0"], metadata)
}

/// Seeds that no other commit has had, as many as fit a night; all of them together count as one test.
pub(crate) fn night(metadata: &Metadata) -> (Counts, Result<(), String>) {
    together(NIGHT, &["--keep-going"], metadata)
}

fn together(time: Duration, arguments: &[&str], metadata: &Metadata) -> (Counts, Result<(), String>) {
    let minutes = (time.as_secs_f64() / 60.0).to_string();
    match simulate(&[arguments, &["--minutes", &minutes]].concat(), metadata) {
        Ok(()) => (Counts { passed: 1, failed: 0 }, Ok(())),
        Err(why) => (Counts { passed: 0, failed: 1 }, Err(why)),
    }
}

/// Each known fault is put in, and must be caught.
pub(crate) fn known_faults(metadata: &Metadata) -> (Counts, Result<(), String>) {
    // A folder of its own: nothing else is built with faults in it.
    let folder = metadata.target_directory.join("sabotage");
    let folder = folder.to_string_lossy();
    let arguments =
        ["test", "--release", "-p", "vipdrift-sim", "--features", "sabotage", "--target-dir", &folder];
    suite::count(suite::command(metadata).args(arguments).args([
        "--test",
        "known_faults",
        "--",
        "--nocapture",
    ]))
}

fn simulate(arguments: &[&str], metadata: &Metadata) -> Result<(), String> {
    let commit = Commit::current(metadata);
    let seed = commit.seed.to_string();
    let minutes = (TESTS.as_secs_f64() / 60.0).to_string();
    let mut all = vec!["many", "--commit", &commit.name];
    if !given(arguments, "--first") {
        all.extend(["--first", &seed]);
    }
    if !given(arguments, "--seeds") && !given(arguments, "--minutes") {
        all.extend(["--minutes", &minutes]);
    }
    all.extend(arguments);
    run(metadata, &all)
}

fn given(arguments: &[&str], option: &str) -> bool {
    arguments.iter().any(|argument| {
        argument.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

fn run(metadata: &Metadata, arguments: &[&str]) -> Result<(), String> {
    suite::cargo(metadata, &["build", "--release", "-p", "vipdrift-sim"])?;
    let program = metadata.target_directory.join("release/vipdrift-sim");
    let status = suite::prepare(Command::new(&program), metadata)
        .args(arguments)
        .status()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("vipdrift-sim: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_has_seeds_of_its_own() {
        assert_eq!(first_seed("6e0ea1402c4b8f51a9e1d2c3b4a5968778695a4b"), 0x6_e0ea_1402_c4b8);
        assert_eq!(first_seed("ffffffffffffffffffffffffffffffffffffffff"), 0xf_ffff_ffff_ffff);
        assert_eq!(first_seed("unknown"), 0);
    }

    #[test]
    fn options_are_found_in_both_forms() {
        assert!(given(&["--hours", "1", "--first", "3"], "--first"));
        assert!(given(&["--first=3"], "--first"));
        assert!(!given(&["--firstly", "3"], "--first"));
    }
}
