//! Runs cargo: format, lints, documentation, build and tests.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::metadata::{self, Metadata};
use crate::report::Counts;

/// Runs cargo with these arguments, its output shown.
pub(crate) fn cargo(metadata: &Metadata, arguments: &[&str]) -> Result<(), String> {
    finish(command(metadata).args(arguments))
}

/// Builds the documentation; a broken link is an error.
pub(crate) fn documentation(metadata: &Metadata) -> Result<(), String> {
    finish(command(metadata).args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Runs all tests, their output shown, and counts them. `path` replaces the search path, for tools unpacked
/// here.
/// `more` is what some of them look for in their environment.
pub(crate) fn tests(
    metadata: &Metadata,
    path: Option<&OsStr>,
    more: &[(&'static str, PathBuf)],
) -> (Counts, Result<(), String>) {
    let mut command = command(metadata);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("VIPDRIFT_BIN", metadata.target_directory.join("debug/vipdrift"));
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.envs(more.iter().map(|(name, place)| (name, place)));
    count(&mut command)
}

/// Runs the tests that this command runs, its output shown, and counts them.
pub(crate) fn count(command: &mut Command) -> (Counts, Result<(), String>) {
    count_while(command, |_| {})
}

/// The same, and says when it runs.
pub(crate) fn count_while(command: &mut Command, begun: impl FnOnce(&Child)) -> (Counts, Result<(), String>) {
    let mut counts = Counts::default();
    let mut ignored = 0;
    command.stdout(Stdio::piped());
    let outcome =
        command.spawn().map_err(|error| format!("cargo does not start: {error}")).and_then(|mut child| {
            begun(&child);
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let _ = std::io::stdout().write_all(&line);
                if let Some(result) = TestResult::parse(&String::from_utf8_lossy(&line)) {
                    counts.passed += result.passed;
                    counts.failed += result.failed;
                    ignored += result.ignored;
                }
                line.clear();
            }
            let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
            if status.success() { Ok(()) } else { Err(format!("cargo test: {status}")) }
        });
    // A test program that crashed, or did not compile, printed no result.
    if outcome.is_err() {
        counts.failed = counts.failed.max(1);
    }
    let outcome = outcome.and_then(|()| match ignored {
        0 => Ok(()),
        count => Err(format!("{count} tests were passed over")),
    });
    (counts, outcome)
}

/// Cargo, to be run in the workspace.
pub(crate) fn command(metadata: &Metadata) -> Command {
    prepare(Command::new(metadata::cargo()), metadata)
}

/// Has a command run in the workspace, as if nobody had started this program by cargo.
pub(crate) fn prepare(mut command: Command, metadata: &Metadata) -> Command {
    command.current_dir(&metadata.workspace_root);
    // Cargo sets these for this program, and they would make it build the same things again and again.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// Runs it, its output shown.
pub(crate) fn finish(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cargo does not start: {error}"))?;
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    if status.success() { Ok(()) } else { Err(format!("cargo {}: {status}", arguments.join(" "))) }
}

/// The closing line of one test program.
#[derive(Debug, PartialEq, Eq)]
struct TestResult {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl TestResult {
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count =
            |what: &str| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines() {
        let ok = "test result: ok. 22 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s\n";
        assert_eq!(TestResult::parse(ok), Some(TestResult { passed: 22, failed: 0, ignored: 1 }));
        let failed = "test result: FAILED. 17 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(TestResult::parse(failed), Some(TestResult { passed: 17, failed: 2, ignored: 0 }));
        assert_eq!(TestResult::parse("test arp_probe ... ok"), None);
        assert_eq!(TestResult::parse("running 22 tests"), None);
    }
}
