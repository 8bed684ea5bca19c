//! A client that starts a program again and again, as a shell loop would.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vipdrift_lab::Host;

use crate::support::PATIENCE;

/// From the end of one attempt to the start of the next.
const PAUSE: Duration = Duration::from_millis(5);
/// One attempt that takes longer is ended and has failed.
const LONGEST: Duration = Duration::from_secs(8);

/// One run of the program.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    /// It ended with status 0.
    pub(crate) good: bool,
    /// Its output.
    pub(crate) said: String,
}

/// The loop; ends when dropped.
pub(crate) struct Repeated {
    attempts: Arc<Mutex<Vec<Attempt>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the loop saw of one fault.
#[derive(Debug)]
pub(crate) struct Seen {
    /// From the end of the last good attempt before to the end of the first good one after.
    pub(crate) outage: Duration,
    /// Attempts that failed.
    pub(crate) failed: usize,
    /// The longest attempt, good or not.
    pub(crate) longest: Duration,
    /// What an ordinary attempt takes.
    pub(crate) ordinary: Duration,
}

impl Repeated {
    /// Starts what `command` makes, which is told how often it was asked before, on `host`.
    pub(crate) fn start(host: &Host, command: impl Fn(usize) -> Command + Send + 'static) -> Self {
        let attempts: Arc<Mutex<Vec<Attempt>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (list, stopped, on) = (Arc::clone(&attempts), Arc::clone(&stop), host.clone());
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let begun = Instant::now();
                let process = on.spawn(command(number)).unwrap();
                let status = process.wait_output(begun + LONGEST);
                let attempt = Attempt {
                    begun,
                    ended: Instant::now(),
                    good: status.is_some_and(|status| status.success()),
                    said: process.output().trim_end().to_owned(),
                };
                list.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
                std::thread::sleep(PAUSE);
            }
        });
        Self { attempts, stop, thread: Some(thread) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All attempts so far.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }

    /// Waits for some attempts in a row that were begun after `since`, each good and with `wanted` in its output.
    pub(crate) fn wait_good(&self, since: Instant, wanted: &str) {
        const ROW: usize = 10;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let attempts = self.attempts();
            let fits = |a: &Attempt| a.good && a.begun > since && a.said.contains(wanted);
            if attempts.iter().rev().take_while(|attempt| fits(attempt)).count() >= ROW {
                return;
            }
            assert!(Instant::now() < deadline, "no good attempts: {:#?}", tail(&attempts));
            std::thread::sleep(PAUSE);
        }
    }

    /// What it has seen since the fault. To be asked after [`wait_good`](Self::wait_good).
    pub(crate) fn seen(&self, fault: Instant) -> Seen {
        let attempts = self.attempts();
        let took = |attempt: &Attempt| attempt.ended - attempt.begun;
        let mut before: Vec<Duration> = attempts.iter().filter(|a| a.ended < fault).map(took).collect();
        before.sort();
        let since: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.ended >= fault).collect();
        let mut last = attempts.iter().rfind(|a| a.good && a.ended < fault).map_or(fault, |a| a.ended);
        let mut outage = Duration::ZERO;
        for attempt in since.iter().filter(|attempt| attempt.good) {
            outage = outage.max(attempt.ended - last);
            last = attempt.ended;
        }
        Seen {
            outage,
            failed: since.iter().filter(|attempt| !attempt.good).count(),
            longest: since.iter().map(|attempt| took(attempt)).max().unwrap_or_default(),
            ordinary: before.get(before.len() / 2).copied().unwrap_or_default(),
        }
    }

    /// What failed attempts said, each kind once, in the order in which it was first said.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut kinds = Vec::new();
        for attempt in self.lock().iter().filter(|attempt| !attempt.good) {
            if !kinds.contains(&attempt.said) {
                kinds.push(attempt.said.clone());
            }
        }
        kinds
    }
}

fn tail(attempts: &[Attempt]) -> &[Attempt] {
    &attempts[attempts.len().saturating_sub(10)..]
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
