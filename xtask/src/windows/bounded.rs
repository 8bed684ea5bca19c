//! Nothing is waited for without an end: what hangs is killed and named.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Most that is shown of a command line, in characters.
const SHOWN: usize = 160;

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(what: &str, command: &mut Command, limit: Duration) -> Result<(), String> {
    let status = finish(what, command, limit)?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}")) }
}

/// Runs a command to its end; if it takes longer than `limit`, kills it and everything that it has started.
pub(crate) fn finish(what: &str, command: &mut Command, limit: Duration) -> Result<ExitStatus, String> {
    let mut child = command.spawn().map_err(|error| {
        format!("{what}: {} does not start: {error}", command.get_program().to_string_lossy())
    })?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) => {
                let family = Family::of(child.id());
                family.kill();
                let _ = child.wait();
                return Err(family.complaint(what, limit));
            }
            Err(error) => return Err(format!("{what}: {error}")),
        }
    }
}

/// Watches over a process that somebody else waits for.
pub(crate) struct Watch {
    enough: Sender<()>,
    thread: JoinHandle<Option<String>>,
}

impl Watch {
    /// Kills process `pid` and everything that it has started after `limit`.
    pub(crate) fn over(what: &str, pid: u32, limit: Duration) -> Self {
        let (enough, ended) = mpsc::channel();
        let what = what.to_owned();
        let thread = std::thread::spawn(move || {
            if ended.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return None;
            }
            let family = Family::of(pid);
            family.kill();
            Some(family.complaint(&what, limit))
        });
        Self { enough, thread }
    }

    /// To be called once the process has ended: what was wrong, if it had to be killed.
    pub(crate) fn end(self) -> Option<String> {
        drop(self.enough);
        self.thread.join().unwrap_or_default()
    }
}

/// A process and those that descend from it.
struct Family {
    pids: Vec<u32>,
    /// Command lines of those that have no children: that is where it hangs.
    last: Vec<String>,
}

impl Family {
    fn of(pid: u32) -> Self {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for child in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if let Some(parent) = parent(&stat) {
                children.entry(parent).or_default().push(child);
            }
        }
        let (mut pids, mut last) = (vec![pid], Vec::new());
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            next += 1;
            match children.get(&pid) {
                Some(found) => pids.extend(found),
                None => last.push(command_line(pid)),
            }
        }
        Self { pids, last }
    }

    /// The parents first, so that none of them begins anything more.
    fn kill(&self) {
        let pids = self.pids.iter().map(u32::to_string);
        let script = ["-c", "kill -KILL \"$@\"", "sh"];
        let _ = Command::new("sh").args(script).args(pids).stderr(Stdio::null()).status();
    }

    fn complaint(&self, what: &str, limit: Duration) -> String {
        format!("{what} hangs: killed after {} s, while it ran: {}", limit.as_secs(), self.last.join(" | "))
    }
}

/// The parent's pid in a line of proc_pid_stat(5): the second word after the name in brackets, which may itself hold
/// brackets.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
    line.trim().chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_ends_in_time_ends_by_itself() {
        let limit = Duration::from_secs(60);
        assert_eq!(finish("three", &mut shell("exit 3"), limit).unwrap().code(), Some(3));
        assert_eq!(run("nothing", &mut shell(":"), limit), Ok(()));
        assert_eq!(run("three", &mut shell("exit 3"), limit).unwrap_err(), "three: exit status: 3");
        let nowhere = run("nothing", &mut Command::new("/no/such/program"), limit).unwrap_err();
        assert!(nowhere.starts_with("nothing: /no/such/program does not start: "), "{nowhere}");
    }

    #[test]
    fn what_hangs_is_killed_with_its_children_and_named() {
        let begun = Instant::now();
        let why = run("the sleeper", &mut shell("sleep 4711; :"), Duration::from_millis(300)).unwrap_err();
        assert_eq!(why, "the sleeper hangs: killed after 0 s, while it ran: sleep 4711");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_watch_kills_and_tells() {
        let mut child = shell("sleep 4712; :").spawn().unwrap();
        let watch = Watch::over("it", child.id(), Duration::from_millis(300));
        assert!(!child.wait().unwrap().success());
        assert_eq!(watch.end().unwrap(), "it hangs: killed after 0 s, while it ran: sleep 4712");

        let mut child = shell(":").spawn().unwrap();
        let watch = Watch::over("it", child.id(), Duration::from_secs(60));
        assert!(child.wait().unwrap().success());
        assert_eq!(watch.end(), None);
    }

    #[test]
    fn parents() {
        assert_eq!(parent("12 (a b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) S 3) R 8 12"), Some(8));
        assert_eq!(parent(""), None);
    }
}
