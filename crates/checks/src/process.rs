//! Does a process run? Its end is told by the system (pidfd_open(2), a handle) the moment it happens; that one has begun is found
//! by looking.

use std::fs;
use std::io;
use std::path::Path;

use vipdrift_platform::error::plain;
use vipdrift_platform::process;
use vipdrift_platform::readable::Readable;

use crate::check::Subject;
use crate::output::Outcome;
use crate::slot::Slot;

#[cfg(unix)]
#[path = "process/linux.rs"]
mod system;
#[cfg(windows)]
#[path = "process/windows.rs"]
mod system;

use system::{lives, named};

/// More of one name are not watched; one of them that lives is enough.
const MOST: usize = 64;

/// Processes that are watched.
#[derive(Default)]
pub(crate) struct Watched {
    processes: Vec<(u32, Readable)>,
    slot: Slot,
}

impl Watched {
    /// Looks for the subject, and watches what it finds from now on.
    pub(crate) async fn look(&mut self, subject: &Subject) -> Outcome {
        let wanted = subject.clone();
        let found = self.slot.take(move || find(&wanted)).await;
        let pids = match found {
            Ok(Ok(pids)) => pids,
            Ok(Err(why)) => {
                self.processes.clear();
                return Outcome::bad(why);
            }
            Err(why) => return Outcome::bad(why),
        };
        self.processes.retain(|(pid, _)| pids.contains(pid));
        for pid in pids {
            if self.processes.len() < MOST && !self.processes.iter().any(|(known, _)| *known == pid) {
                // One that has ended meanwhile is simply not there.
                if let Ok(watched) = watch(pid) {
                    self.processes.push((pid, watched));
                }
            }
        }
        let pids: Vec<String> = self.processes.iter().take(3).map(|(pid, _)| pid.to_string()).collect();
        match (self.processes.len(), subject) {
            (0, Subject::Named(name)) => Outcome::bad(format!("no process is called {name}")),
            (0, Subject::InFile(path)) => {
                Outcome::bad(format!("the process of {} has ended", path.display()))
            }
            (1, _) => Outcome::good(format!("process {} runs", pids.join(""))),
            (count, _) if count > 3 => {
                Outcome::good(format!("{count} processes run: {}, ...", pids.join(", ")))
            }
            (count, _) => Outcome::good(format!("{count} processes run: {}", pids.join(", "))),
        }
    }

    /// Waits until one that is watched ends; for ever if none is.
    pub(crate) async fn ended(&mut self) {
        if self.processes.is_empty() {
            return std::future::pending().await;
        }
        let waits = self.processes.iter().map(|(_, pidfd)| Box::pin(pidfd.stays()));
        let (ready, index, others) = futures_util::future::select_all(waits).await;
        drop((ready, others));
        self.processes.swap_remove(index);
    }
}

fn watch(pid: u32) -> io::Result<Readable> {
    Readable::new(process::watch(pid)?)
}

/// Processes that live, by the subject; what is wrong with the search, if anything is.
fn find(subject: &Subject) -> Result<Vec<u32>, String> {
    match subject {
        Subject::InFile(path) => in_file(path),
        Subject::Named(name) => {
            named(name).map_err(|error| format!("cannot look at the processes: {}", plain(&error)))
        }
    }
}

fn in_file(path: &Path) -> Result<Vec<u32>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {}", plain(&error)))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let pid = first.parse::<u32>().ok().filter(|pid| *pid > 0);
    let pid = pid.ok_or_else(|| format!("{shown} holds no process id"))?;
    Ok(if lives(pid) { vec![pid] } else { vec![] })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use super::system::program;
    use super::*;

    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A process of its own name.
    fn sleeper(name: &str) -> (tempfile::TempDir, Sleeper) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::copy("/bin/sleep", &path).unwrap();
        (folder, start(&path))
    }

    /// A process is there before it has its new name (execve(2)): waits until it has.
    fn start(path: &Path) -> Sleeper {
        let sleeper = Sleeper(Command::new(path).arg("1000").spawn().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        for _ in 0..1000 {
            let comm = fs::read_to_string(format!("/proc/{}/comm", sleeper.0.id())).unwrap();
            if name.starts_with(comm.trim_end()) && program(sleeper.0.id()).as_deref() == Some(name) {
                return sleeper;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} has not begun", path.display());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_known_when_it_happens() {
        for name in ["vd-sleeper", "vd-sleeper-with-a-long-name"] {
            let (_folder, mut sleeper) = sleeper(name);
            let subject = Subject::Named(name.to_owned());
            let mut watched = Watched::default();
            let outcome = watched.look(&subject).await;
            assert_eq!(outcome.summary, format!("process {} runs", sleeper.0.id()));
            let early = tokio::time::timeout(Duration::from_millis(50), watched.ended()).await;
            assert!(early.is_err(), "it lives");
            sleeper.0.kill().unwrap();
            let begun = Instant::now();
            tokio::time::timeout(Duration::from_secs(5), watched.ended()).await.expect("told");
            assert!(begun.elapsed() < Duration::from_secs(5));
            // A zombie is no process that runs.
            assert_eq!(watched.look(&subject).await.summary, format!("no process is called {name}"));
        }
    }

    #[tokio::test]
    async fn of_several_one_is_enough() {
        let (folder, mut first) = sleeper("vd-several");
        let second = start(&folder.path().join("vd-several"));
        let subject = Subject::Named("vd-several".to_owned());
        let mut watched = Watched::default();
        assert!(watched.look(&subject).await.summary.starts_with("2 processes run: "));
        first.0.kill().unwrap();
        watched.ended().await;
        assert_eq!(watched.look(&subject).await.summary, format!("process {} runs", second.0.id()));
    }

    #[tokio::test]
    async fn a_process_by_its_file() {
        let (folder, mut sleeper) = sleeper("vd-by-file");
        let path = folder.path().join("pid");
        let subject = Subject::InFile(path.clone());
        let mut watched = Watched::default();
        let shown = path.display();
        assert_eq!(watched.look(&subject).await.summary, format!("{shown}: no such file or directory"));
        fs::write(&path, "soon\n").unwrap();
        assert_eq!(watched.look(&subject).await.summary, format!("{shown} holds no process id"));
        fs::write(&path, format!("{}\n", sleeper.0.id())).unwrap();
        assert!(watched.look(&subject).await.good);
        sleeper.0.kill().unwrap();
        watched.ended().await;
        assert_eq!(watched.look(&subject).await.summary, format!("the process of {shown} has ended"));
    }
}
