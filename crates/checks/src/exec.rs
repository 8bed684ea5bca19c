//! Does a program end with status 0?
//!
//! It runs in a group of its own, and nothing of that group is left when the look is over: neither what it left behind
//! nor, after the timeout, the program itself.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vipdrift_platform::error::plain;

use crate::check::Exec;
use crate::output::{KEPT, Outcome};
use crate::slot::Slot;

#[cfg(unix)]
#[path = "exec/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "exec/windows.rs"]
mod system;

/// Runs it as a check, for `limit` at most: nothing of it is left.
pub(crate) async fn look(exec: &Exec, slot: &Slot, limit: Duration) -> Outcome {
    run_program(exec, slot, Vec::new(), limit, Rest::Ends).await
}

/// What becomes of what a program leaves in its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It ends with the program.
    Ends,
    /// It stays, unless the program took too long.
    Stays,
}

/// Runs a program without a shell and waits for its end, for `limit` at most; then it is killed, with its process group.
/// It reads `input`, which should be short: what does not fit a pipe is left out. Its output is kept in part. What it
/// leaves running should have closed its output: nobody reads it any more.
///
/// `slot` is that of whoever runs such programs one after the other: one on a file system that hangs takes its time to
/// start, and the next is not started meanwhile.
///
/// To be called in a runtime whose blocking threads live as long as the process does: a program ends with the thread
/// that has started it.
pub async fn run_program(exec: &Exec, slot: &Slot, input: Vec<u8>, limit: Duration, rest: Rest) -> Outcome {
    let deadline = Instant::now() + limit;
    let program = exec.command.first().cloned().unwrap_or_default();
    let exec = exec.clone();
    // One that is not waited for any more is dropped when it has started, which ends it.
    let started = match timeout_at(deadline, slot.take(move || system::start(&exec, &input))).await {
        Ok(Ok(started)) => started,
        Ok(Err(why)) => return Outcome::bad(format!("cannot start {program}: {why}")),
        Err(_) => return Outcome::bad(format!("{program} did not start within {}", show(limit))),
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => return Outcome::bad(format!("cannot run {program}: {}", plain(&error))),
    };
    let mut output = Vec::new();
    match timeout_at(deadline, running.end(&mut output, rest)).await {
        Ok(Ok(status)) => judge(status, &output),
        Ok(Err(error)) => Outcome::bad(format!("cannot watch {program}: {}", plain(&error))).with(&output),
        Err(_) => {
            Outcome::bad(format!("{program} did not end within {} and was killed", show(limit))).with(&output)
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    #[cfg(unix)]
    Signal(i32),
}

fn judge(end: End, output: &[u8]) -> Outcome {
    let first = String::from_utf8_lossy(output);
    let line = first.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
    let said = if line.is_empty() { String::new() } else { format!(": {line}") };
    let outcome = match end {
        End::Status(0) => Outcome::good(format!("exit status 0{said}")),
        End::Status(code) => Outcome::bad(format!("exit status {code}{said}")),
        #[cfg(unix)]
        End::Signal(signal) => Outcome::bad(format!("killed by signal {signal}{said}")),
    };
    outcome.with(output)
}

/// Keeps the end of what a program says.
fn keep(kept: &mut Vec<u8>, said: &[u8]) {
    kept.extend_from_slice(said);
    if kept.len() > 2 * KEPT {
        kept.drain(..kept.len() - KEPT);
    }
}

fn show(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{} s", span.as_secs())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    fn sh(script: &str) -> Exec {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).into();
        Exec { command, account: None, environment: vec![("GREETING".into(), "hello".into())] }
    }

    async fn run(exec: &Exec) -> Outcome {
        look(exec, &Slot::default(), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn status_and_last_line_make_the_summary() {
        let outcome = run(&sh("echo $GREETING; echo to the log >&2; exit 3")).await;
        assert_eq!((outcome.good, outcome.summary.as_str()), (false, "exit status 3: to the log"));
        assert_eq!(outcome.output, "hello\nto the log");
        assert_eq!(run(&sh("exit 0")).await, Outcome::good("exit status 0"));
        assert_eq!(run(&sh("kill -9 $$")).await.summary, "killed by signal 9");
    }

    #[tokio::test]
    async fn what_cannot_be_run_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let exec = |path: &std::path::Path| Exec {
            command: vec![path.display().to_string()],
            account: None,
            environment: vec![],
        };
        let shown = path.display();
        let outcome = run(&exec(&path)).await;
        assert_eq!(outcome.summary, format!("cannot run {shown}: no such file or directory"));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let outcome = run(&exec(&path)).await;
        assert_eq!(outcome.summary, format!("cannot run {shown}: permission denied"));
    }

    #[tokio::test]
    async fn a_hanging_program_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let script = format!("sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait", pids.display());
        let outcome = look(&sh(&script), &Slot::default(), Duration::from_millis(300)).await;
        assert_eq!(outcome.summary, "/bin/sh did not end within 300 ms and was killed");
        assert_none_left(&pids).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let begun = std::time::Instant::now();
        // It holds the output open.
        let outcome = run(&sh(&format!("sleep 1000 & echo $! > {}; echo done", pids.display()))).await;
        assert_eq!(outcome.summary, "exit status 0: done");
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_none_left(&pids).await;
    }

    async fn assert_none_left(pids: &std::path::Path) {
        let pids = std::fs::read_to_string(pids).unwrap();
        assert!(!pids.trim().is_empty());
        for _ in 0..200 {
            let lives = |pid: &&str| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                !stat.is_empty() && !stat.contains(") Z ")
            };
            if !pids.split_whitespace().any(|pid| lives(&pid)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("some of {pids:?} live on");
    }

    /// Whoever starts this may have blocked signals for itself.
    #[tokio::test]
    async fn no_signal_is_blocked_in_a_program() {
        use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None).unwrap();
        // Without a shell: that would set it right by itself.
        let command = ["/bin/grep", "SigBlk", "/proc/self/status"].map(str::to_owned).into();
        let outcome = run(&Exec { command, account: None, environment: vec![] }).await;
        pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None).unwrap();
        assert_eq!(outcome.output, "SigBlk:\t0000000000000000");
    }

    #[tokio::test]
    async fn endless_output_is_cut() {
        let outcome = look(&sh("yes; exit 1"), &Slot::default(), Duration::from_millis(200)).await;
        assert!(!outcome.good);
        assert!(outcome.output.len() <= KEPT && outcome.output.ends_with("y"), "{}", outcome.output.len());
    }
}
