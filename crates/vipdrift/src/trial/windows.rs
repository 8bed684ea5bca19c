//! Nodes that run the program for Windows, under wine. What they do is seen from outside; what they say, by asking with
//! the same program.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vipdrift_control::Status;
use vipdrift_lab::wine::{Agent, Habits, WineHost, template};
use vipdrift_lab::{Host, Process, Signal};

use super::TrialError;

/// A program under wine starts and asks within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// The name of the program.
const PROGRAM: &str = "vipdrift.exe";

/// What a node has besides its machine.
#[derive(Debug)]
pub struct Windows {
    // Before the agent: what runs in it asks the agent to its last moment.
    wine: WineHost,
    _agent: Agent,
    program: PathBuf,
    /// There is Npcap.
    driver: bool,
}

/// What a program said before it ended, and whether all was well.
#[derive(Debug)]
pub struct Said {
    /// It ended with status 0.
    pub done: bool,
    /// Standard output and error.
    pub text: String,
}

impl Windows {
    /// Gives a machine what it needs.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn on(host: &Host, program: &Path, habits: Habits, driver: bool) -> Result<Self, TrialError> {
        let agent = host.wine_agent(habits)?;
        let wine = host.wine(&template()?)?;
        Ok(Self { wine, _agent: agent, program: program.to_owned(), driver })
    }

    /// Wine on the machine.
    #[must_use]
    pub fn wine(&self) -> &WineHost {
        &self.wine
    }

    /// A path as programs there know it.
    #[must_use]
    pub fn path(path: &Path) -> String {
        format!("Z:{}", path.display()).replace('/', "\\")
    }

    /// Starts the program.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn start(&self, args: &[&str]) -> Result<Process, TrialError> {
        let mut command = if self.driver {
            self.wine.command_with_driver(&self.program)
        } else {
            self.wine.command(&self.program)
        };
        command.args(args);
        Ok(self.wine.host().spawn(command)?)
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// As [`TrialError`] says; one that does not end within 30 s is killed.
    pub fn run(&self, args: &[&str]) -> Result<Said, TrialError> {
        let process = self.start(args)?;
        let Some(status) = process.wait_output(Instant::now() + PATIENCE) else {
            let _ = process.kill(Signal::SIGKILL);
            return Err(TrialError::Unready {
                what: format!("vipdrift.exe {} ends", args.join(" ")),
                limit: PATIENCE,
                state: process.output(),
            });
        };
        let mut text = process.output();
        if text.is_empty() && !status.success() {
            text = format!("without a word: {status}");
        }
        Ok(Said { done: status.success(), text })
    }

    /// What its daemon says of itself.
    ///
    /// # Errors
    /// As [`TrialError`] says.
    pub fn status(&self) -> Result<Status, TrialError> {
        let said = self.run(&["status", "--json", "--socket", r"\\.\pipe\vipdrift"])?;
        serde_json::from_str(&said.text).map_err(|_| TrialError::Said { text: said.text })
    }

    /// Linux's ids of the program's processes of this kind: `host`, `keeper`, `brain`, `runner`.
    #[must_use]
    pub fn pids(&self, kind: &str) -> Vec<i32> {
        let started_so = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).skip(1);
            let is = match words.next() {
                // The keeper is told who its host is.
                Some(b"run" | b"service") if words.any(|word| word == b"--host") => &b"keeper"[..],
                Some(b"run" | b"service") => &b"host"[..],
                Some(first) => first,
                None => return false,
            };
            is == kind.as_bytes()
        };
        self.wine.pids(PROGRAM).into_iter().filter(started_so).collect()
    }
}
