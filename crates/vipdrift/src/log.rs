//! One short line for everything worth knowing, to standard error. A thread of its own writes, so that a reader
//! that has stopped reading stops nothing else.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Lines kept for a reader that is slow; what comes beyond is dropped and counted.
const KEPT: usize = 4096;

/// What the writing thread is given.
#[derive(Debug)]
enum Entry {
    Line(String),
    /// Everything before this is written: say so.
    Mark(SyncSender<()>),
}

/// Takes lines from any thread and never waits.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writing thread. Call it before this thread gets real-time priority.
    ///
    /// # Errors
    /// If no thread can be made.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (lines, queue) = sync_channel(KEPT);
        let dropped = Arc::new(AtomicU64::new(0));
        let missing = Arc::clone(&dropped);
        std::thread::Builder::new().name("log".into()).stack_size(64 * 1024).spawn(move || {
            let mut told = 0;
            while let Ok(entry) = queue.recv() {
                let line = match entry {
                    Entry::Line(line) => line,
                    Entry::Mark(reached) => {
                        let _ = reached.try_send(());
                        continue;
                    }
                };
                let mut out = std::io::stderr().lock();
                let _ = out.write_all(line.as_bytes());
                let now = missing.load(Ordering::Relaxed);
                if now != told {
                    let _ = writeln!(out, "{} warning: {} log lines were dropped", stamp(), now - told);
                    told = now;
                }
            }
        })?;
        Ok(Self { lines, dropped })
    }

    /// Something that people will look for.
    pub(crate) fn info(&self, text: impl Display) {
        self.put(format!("{} {text}\n", stamp()));
    }

    /// Something that somebody should look at.
    pub(crate) fn warning(&self, text: impl Display) {
        self.put(format!("{} warning: {text}\n", stamp()));
    }

    /// Lines dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything said so far is written, a short while at most. Before the end of the process.
    pub(crate) fn flush(&self) {
        let (mark, reached) = sync_channel(1);
        if self.lines.try_send(Entry::Mark(mark)).is_ok() {
            let _ = reached.recv_timeout(Duration::from_millis(300));
        }
    }

    fn put(&self, line: String) {
        if self.lines.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Wall-clock time, UTC, to the millisecond.
fn stamp() -> impl Display {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
}
