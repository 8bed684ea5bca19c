//! A program that runs on a host.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::enclosure::VARIABLES;
use crate::error::{Result, While};

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A line of output, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read, on `CLOCK_MONOTONIC`.
    pub at: Instant,
    /// Where it came from.
    pub stream: Stream,
    /// What it says; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// A running (or ended) program. Dropping it kills it with SIGKILL and reaps it.
pub struct Process {
    pid: Pid,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    listeners: Vec<Sender<Line>>,
    ended: Option<(Instant, ExitStatus)>,
    open_streams: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts `command` in the namespaces of the calling thread. Standard input is empty.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| format!("start {}", command.get_program().display()))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let streams: [(Stream, Option<Box<dyn Read + Send>>); 2] = [
            (Stream::Out, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
            (Stream::Err, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
        ];
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        shared.lock().open_streams = streams.len();
        for (stream, pipe) in streams {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Some(pipe) = pipe {
                    read_lines(stream, pipe, &shared);
                }
                let mut state = shared.lock();
                state.open_streams -= 1;
                if state.open_streams == 0 {
                    state.listeners.clear();
                }
                drop(state);
                shared.changed.notify_all();
            });
        }
        let waiting = Arc::clone(&shared);
        std::thread::spawn(move || wait_for_end(child, pid, &waiting));
        Ok(Self { pid, shared })
    }

    /// Process id, as seen inside the enclosure.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal to this process only, not to its children.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let state = self.shared.lock();
        // Reaped only while the state is locked, so the pid is still its own.
        let sent = if state.ended.is_some() { Err(nix::errno::Errno::ESRCH) } else { kill(self.pid, signal) };
        sent.doing(|| format!("send {signal} to process {}", self.pid))
    }

    /// Waits for its end; `None` if it still ran at `deadline`.
    pub fn wait(&self, deadline: Instant) -> Option<ExitStatus> {
        self.wait_state(deadline, |state| state.ended.map(|(_, status)| status))
    }

    /// When it ended, and how; `None` while it runs.
    pub fn ended(&self) -> Option<(Instant, ExitStatus)> {
        self.shared.lock().ended
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.lock().lines.clone()
    }

    /// Every line so far as one text, for messages of tests.
    pub fn output(&self) -> String {
        self.shared.lock().lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// Lines as they come, those that have come already first. Disconnects when the process and its children have
    /// closed their output.
    pub fn live(&self) -> Receiver<Line> {
        let (sender, receiver) = mpsc::channel();
        let mut state = self.shared.lock();
        for line in &state.lines {
            let _ = sender.send(line.clone());
        }
        if state.open_streams > 0 {
            state.listeners.push(sender);
        }
        receiver
    }

    /// Waits for a line, also among those that have come already; `None` if there was none by `deadline` or the
    /// output was closed.
    pub fn wait_line(&self, deadline: Instant, mut wanted: impl FnMut(&Line) -> bool) -> Option<Line> {
        let mut seen = 0;
        let mut found = None;
        self.wait_state(deadline, |state| {
            found = state.lines[seen..].iter().find(|line| wanted(line)).cloned();
            seen = state.lines.len();
            (found.is_some() || state.open_streams == 0).then_some(())
        });
        found
    }

    /// Waits until the process and its children have closed their output and it has ended: after that
    /// [`lines`](Self::lines) is whole. `None` if not by `deadline`.
    pub fn wait_output(&self, deadline: Instant) -> Option<ExitStatus> {
        self.wait_state(deadline, |state| {
            state.ended.filter(|_| state.open_streams == 0).map(|(_, status)| status)
        })
    }

    fn wait_state<T>(&self, deadline: Instant, mut ready: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = ready(&state) {
                return Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid.as_raw()).field("ended", &self.ended()).finish()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill(Signal::SIGKILL);
    }
}

fn read_lines(stream: Stream, pipe: Box<dyn Read + Send>, shared: &Shared) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while let Ok(1..) = pipe.read_until(b'\n', &mut bytes) {
        let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        bytes.clear();
        let line = Line { at: Instant::now(), stream, text };
        let mut state = shared.lock();
        state.listeners.retain(|listener| listener.send(line.clone()).is_ok());
        state.lines.push(line);
        drop(state);
        shared.changed.notify_all();
    }
}

fn wait_for_end(mut child: Child, pid: Pid, shared: &Shared) {
    // Waits without reaping: reaping frees the pid, and nobody may signal it from then on.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while let Err(nix::errno::Errno::EINTR) = waitid(Id::Pid(pid), flags) {}
    let at = Instant::now();
    let mut state = shared.lock();
    let status = child.wait().unwrap_or_else(|error: io::Error| {
        eprintln!("lab: waiting for process {pid}: {error}");
        ExitStatus::default()
    });
    state.ended = Some((at, status));
    drop(state);
    shared.changed.notify_all();
}
