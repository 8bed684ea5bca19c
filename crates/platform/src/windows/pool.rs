//! Threads for calls that block: as many as are needed, up to a limit, and a refusal beyond it.
//!
//! Whoever hands over jobs is in a hurry, and starting a thread takes a while. So a thread of the pool's own sees to it that some are
//! free beforehand.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A call into the system needs little.
const STACK: usize = 128 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They are started as they are needed, and stay until the pool is dropped; one that is in a call then
/// ends after it.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    most: usize,
    spare: usize,
    state: Mutex<State>,
    work: Condvar,
    /// Fewer are free than should be.
    short: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that have no job and will look for one.
    free: usize,
    /// Threads that have one.
    busy: usize,
    /// The thread that keeps some free has been started.
    kept: bool,
    ended: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        write!(f, "Shared({} threads, {} free)", state.threads, state.free)
    }
}

impl Pool {
    /// No thread yet, and never more than `most`. After the first job `spare` are kept free.
    pub(super) fn new(name: &'static str, most: usize, spare: usize) -> Self {
        let (state, work, short) = Default::default();
        Self { shared: Arc::new(Shared { name, most, spare, state, work, short }) }
    }

    /// Has a thread of its own begin with the job at once.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: all threads are in calls, and no more may be started, or can be. The job is not done.
    pub(super) fn start(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.shared.lock();
        // Whoever is free may still have to take a job that waits.
        if state.free <= state.jobs.len() {
            if state.threads >= self.shared.most {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Shared::spawn(&self.shared, true).map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?;
            state.threads += 1;
            state.free += 1;
        }
        state.jobs.push_back(Box::new(job));
        self.shared.work.notify_one();
        if !state.kept {
            state.kept = true;
            let shared = Arc::clone(&self.shared);
            // Without it threads are started when they are needed.
            let _ = std::thread::Builder::new().stack_size(STACK).spawn(move || Shared::keep(&shared));
        } else if self.shared.is_short(&state) {
            self.shared.short.notify_one();
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_all();
        self.shared.short.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads that are just being started count too.
    fn is_short(&self, state: &State) -> bool {
        state.threads < self.most && state.threads - state.busy < state.jobs.len() + self.spare
    }

    /// Starts a thread, which counts itself as free when it runs if nobody has done so.
    fn spawn(shared: &Arc<Self>, counted: bool) -> io::Result<()> {
        let works = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(shared.name.into()).stack_size(STACK);
        thread
            .spawn(move || {
                if !counted {
                    works.lock().free += 1;
                }
                works.work();
            })
            .map(drop)
    }

    /// Starts threads until enough are free. Not under the lock, for which somebody in a hurry may be waiting.
    fn keep(shared: &Arc<Self>) {
        let mut state = shared.lock();
        while !state.ended {
            if shared.is_short(&state) {
                state.threads += 1;
                drop(state);
                let started = Self::spawn(shared, false).is_ok();
                state = shared.lock();
                if started {
                    continue;
                }
                state.threads -= 1;
            }
            state = shared.short.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.free -= 1;
                state.busy += 1;
                drop(state);
                job();
                state = self.lock();
                state.busy -= 1;
                state.free += 1;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_many_as_needed_and_no_more() {
        let pool = Pool::new("test", 2, 1);
        let (told, tells) = mpsc::channel();
        let mut holds = Vec::new();
        let mut start = |number: u32| {
            let (hold, held) = mpsc::channel::<()>();
            let told = told.clone();
            let started = pool.start(move || {
                told.send(number).unwrap();
                let _ = held.recv();
            });
            holds.push(hold);
            started
        };
        let patience = Duration::from_secs(10);
        start(1).unwrap();
        // The one that is kept free may still be starting: it is refused honestly then.
        let begun = std::time::Instant::now();
        while start(2).is_err() {
            assert!(begun.elapsed() < patience);
            std::thread::yield_now();
        }
        assert_eq!(start(3).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut first = [tells.recv_timeout(patience).unwrap(), tells.recv_timeout(patience).unwrap()];
        first.sort_unstable();
        assert_eq!(first, [1, 2], "both at once, and the refused one not at all");
        holds.clear();
        while pool.shared.lock().free < 2 {
            assert!(begun.elapsed() < patience);
            std::thread::yield_now();
        }
        pool.start(move || told.send(4).unwrap()).unwrap();
        assert_eq!(tells.recv_timeout(patience).unwrap(), 4);
        assert_eq!(pool.shared.lock().threads, 2);
    }
}
