//! Running a program for what it prints, with a hard end.
//!
//! The runner of `vipdrift-checks` keeps the end of an output; here all of it counts.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use vipdrift_platform::error::plain;
use vipdrift_platform::process;

/// Where programs are looked for: an ordinary user's path often lacks the half of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest output; whoever says more is cut off.
const MOST: u64 = 16 * 1024 * 1024;
/// Kept of what it complains about.
const COMPLAINT: u64 = 4096;
const PAUSE: Duration = Duration::from_millis(2);

/// Why there is no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoOutput {
    /// There is no such program.
    Missing,
    /// In its words, or in the system's.
    Failed(String),
}

/// What a program prints that ends with status 0 within `limit`. After that it is killed, with its process group.
/// The language of its words is C.
pub(super) fn output(program: &str, arguments: &[&str], limit: Duration) -> Result<Vec<u8>, NoOutput> {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    let own = std::env::var("PATH").unwrap_or_default();
    command
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{PATH}:{own}"))
        .env("LC_ALL", "C")
        .current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    process::end_with_parent(&mut command);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => NoOutput::Missing,
        _ => NoOutput::Failed(plain(&error)),
    })?;
    let said = child.stdout.take().map(|pipe| read(pipe, MOST));
    let complained = child.stderr.take().map(|pipe| read(pipe, COMPLAINT));
    let collect = |pipe: Option<mpsc::Receiver<Vec<u8>>>| {
        let left = deadline.saturating_duration_since(Instant::now());
        pipe.and_then(|pipe| pipe.recv_timeout(left).ok())
    };
    let (said, complained) = (collect(said), collect(complained));
    let ended = wait(&mut child, deadline);
    match (ended, said) {
        (Some(status), Some(said)) if status.success() => Ok(said),
        (Some(status), _) => {
            let words = complained.unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let line = words.lines().map(str::trim).find(|line| !line.is_empty());
            Err(NoOutput::Failed(line.map_or_else(|| status.to_string(), str::to_owned)))
        }
        (None, _) => Err(NoOutput::Failed(format!("no end within {} s", limit.as_secs_f32()))),
    }
}

/// Reads to the end, or to `most` bytes, on a thread that ends with the pipe.
fn read(pipe: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if pipe.take(most).read_to_end(&mut bytes).is_ok() {
            let _ = sender.send(bytes);
        }
    });
    receiver
}

/// Its status, or `None` when it had to be killed.
fn wait(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    // Not reaped yet, so the id is still its own, and its group's.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // One that the kernel cannot end at once is left rather than waited for.
    for _ in 0..50 {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn all_of_a_long_output_is_kept() {
        let said = output("sh", &["-c", "head -c 300000 /dev/zero"], LONG).expect("an output");
        assert_eq!(said.len(), 300_000);
    }

    #[test]
    fn why_there_is_none() {
        assert_eq!(output("no-such-program-here", &[], LONG), Err(NoOutput::Missing));
        let failed = output("sh", &["-c", "echo; echo not today >&2; exit 3"], LONG);
        assert_eq!(failed, Err(NoOutput::Failed("not today".into())));
        assert_eq!(output("false", &[], LONG), Err(NoOutput::Failed("exit status: 1".into())));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let begun = Instant::now();
        let folder = tempfile::tempdir().expect("a folder");
        let pids = folder.path().join("pids");
        let script = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
        let hung = output("sh", &["-c", &script], Duration::from_millis(500));
        assert_eq!(hung, Err(NoOutput::Failed("no end within 0.5 s".into())));
        assert!(begun.elapsed() < LONG);
        let lives = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let pids = std::fs::read_to_string(pids).expect("it ran");
        let gone = |_| {
            std::thread::sleep(Duration::from_millis(10));
            !pids.split_whitespace().any(lives)
        };
        assert!((0..500).any(gone), "some of {pids:?} live on");
    }
}
