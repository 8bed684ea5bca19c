//! Runs tests inside an enclosure each.
//!
//! The harness that `#[test]` uses has started threads before a test runs, and a process with threads cannot enter
//! a user namespace. So a test target that needs hosts sets `harness = false` and lists its tests with
//! [`tests!`](crate::tests!).

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};

use crate::enclosure::enclose;

/// Name of the one test to run inside; unset in the process that the user started.
pub(crate) const TEST: &str = "VIPDRIFT_LAB_TEST";
/// Pid of the process that runs the tests.
pub(crate) const HARNESS: &str = "VIPDRIFT_LAB_HARNESS";

/// Longest that one test may take before everything in its enclosure is killed and it counts as failed.
pub const TIME_LIMIT: Duration = Duration::from_secs(300);

/// One test: a name, and a function that panics if it fails.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// As it is shown, and selected on the command line.
    pub name: &'static str,
    /// Runs inside an enclosure of its own, in a process of its own.
    pub run: fn(),
}

/// Makes `main` of a test target out of test functions (`fn()`), each of which runs inside an enclosure of its own.
///
/// The target needs `harness = false` in `Cargo.toml`. The options of `cargo test` work as usual (`--exact`,
/// `--nocapture`, `--list`, names); tests run one after the other unless `--test-threads` says otherwise, since
/// several at once disturb each other's timing. Those after `side_by_side:` do not mind: of them one more runs at once than the
/// machine has cores.
///
/// ```no_run
/// fn vip_moves() {
///     let lab = vipdrift_lab::Lab::new().unwrap();
///     // ...
/// }
/// vipdrift_lab::tests![vip_moves];
/// ```
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => { $crate::tests![$($name),*; side_by_side:]; };
    ($($name:ident),* $(,)?; side_by_side: $($other:ident),* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_tests(
                &[$($crate::Test { name: stringify!($name), run: $name }),*],
                &[$($crate::Test { name: stringify!($other), run: $other }),*],
            )
        }
    };
}

/// What `main` made by [`tests!`](crate::tests!) calls; first thing in `main`. Each test alone, then the others side by side.
#[must_use]
pub fn run_tests(alone: &[Test], side_by_side: &[Test]) -> ExitCode {
    if let Ok(name) = std::env::var(TEST) {
        return run_inside(alone.iter().chain(side_by_side), &name);
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let good = [(alone, 1), (side_by_side, cores + 1)].map(|(tests, threads)| {
        let mut arguments = Arguments::from_args();
        let show = arguments.nocapture;
        arguments.test_threads.get_or_insert(threads);
        let trials: Vec<_> = tests
            .iter()
            .map(|test| {
                let name = test.name;
                Trial::test(name, move || run_enclosed(name, show))
            })
            .collect();
        trials.is_empty() || !libtest_mimic::run(&arguments, trials).has_failed()
    });
    // As Rust's own tests end.
    if good == [true; 2] { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

fn run_inside<'t>(mut tests: impl Iterator<Item = &'t Test>, name: &str) -> ExitCode {
    // The harness has put this process into a group of its own: it must not outlive the harness.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let harness = std::env::var(HARNESS).ok().and_then(|pid| pid.parse().ok());
    if crate::enclosure::is_outermost() && harness != Some(getppid().as_raw()) {
        return ExitCode::FAILURE;
    }
    if let Err(refused) = enclose() {
        eprintln!("{refused}");
        return ExitCode::FAILURE;
    }
    match tests.find(|test| test.name == name) {
        Some(test) => {
            (test.run)();
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no test is named {name}");
            ExitCode::FAILURE
        }
    }
}

fn run_enclosed(name: &str, show: bool) -> Result<(), Failed> {
    let executable = std::env::current_exe().map_err(|error| Failed::from(error.to_string()))?;
    let (mut reader, writer) = std::io::pipe().map_err(|error| Failed::from(error.to_string()))?;
    let mut child = {
        let errors = writer.try_clone().map_err(|error| Failed::from(error.to_string()))?;
        Command::new(executable)
            .env(TEST, name)
            .env(HARNESS, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| Failed::from(error.to_string()))?
    };
    let (done, finished) = mpsc::channel();
    let collector = std::thread::spawn(move || {
        let mut output = Vec::new();
        let mut part = [0; 4096];
        // The pipe closes when the last process inside is gone.
        while let Ok(count @ 1..) = reader.read(&mut part) {
            output.extend_from_slice(&part[..count]);
            if show {
                let _ = std::io::stdout().write_all(&part[..count]);
            }
        }
        let _ = done.send(());
        output
    });
    let in_time = finished.recv_timeout(TIME_LIMIT).is_ok();
    if !in_time && let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let status = child.wait().map_err(|error| Failed::from(error.to_string()))?;
    let output = collector.join().unwrap_or_default();
    if status.success() && in_time {
        return Ok(());
    }
    let why = if in_time { status.to_string() } else { format!("not done after {TIME_LIMIT:?}") };
    Err(Failed::from(format!("{why}\n{}", String::from_utf8_lossy(&output))))
}
