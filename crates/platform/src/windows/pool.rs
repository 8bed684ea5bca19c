//! Threads for calls that block: as many as are needed, up to a limit, and a refusal beyond it.
//!
//! Whoever hands over jobs is in a hurry, and starting a thread takes a while. So a thread of the pool's own sees to it that some are
//! free beforehand.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};

/// A call into the system needs little.
const STACK: usize = 128 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They are started as they are needed, and stay until the pool is dropped. Dropping waits for those that are not
/// in a call: wine crashes a process now and then whose threads end while it does. One that is in a call ends after it.
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
    busy: HashSet<ThreadId>,
    /// All that were started.
    handles: Vec<JoinHandle<()>>,
    /// The thread that keeps some free, or none could be started.
    keeper: Option<io::Result<JoinHandle<()>>>,
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
            let thread = Shared::spawn(&self.shared, true);
            state.handles.push(thread.map_err(|_| io::Error::from(io::ErrorKind::WouldBlock))?);
            state.threads += 1;
            state.free += 1;
        }
        state.jobs.push_back(Box::new(job));
        self.shared.work.notify_one();
        if state.keeper.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without it threads are started when they are needed.
            let thread = std::thread::Builder::new().stack_size(STACK);
            state.keeper = Some(thread.spawn(move || Shared::keep(&shared)));
        } else if self.shared.is_short(&state) {
            self.shared.short.notify_one();
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        self.shared.work.notify_all();
        self.shared.short.notify_all();
        // First the one that may be starting others. None of them panics but in a job.
        if let Some(Ok(keeper)) = state.keeper.take() {
            drop(state);
            let _ = keeper.join();
            state = self.shared.lock();
        }
        let mut handles = std::mem::take(&mut state.handles);
        handles.retain(|thread| !state.busy.contains(&thread.thread().id()));
        drop(state);
        handles.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads that are just being started count too.
    fn is_short(&self, state: &State) -> bool {
        state.threads < self.most && state.threads - state.busy.len() < state.jobs.len() + self.spare
    }

    /// Starts a thread, which counts itself as free when it runs if nobody has done so.
    fn spawn(shared: &Arc<Self>, counted: bool) -> io::Result<JoinHandle<()>> {
        let works = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(shared.name.into()).stack_size(STACK);
        thread.spawn(move || {
            if !counted {
                works.lock().free += 1;
            }
            works.work();
        })
    }

    /// Starts threads until enough are free. Not under the lock, for which somebody in a hurry may be waiting.
    fn keep(shared: &Arc<Self>) {
        let mut state = shared.lock();
        while !state.ended {
            if shared.is_short(&state) {
                state.threads += 1;
                drop(state);
                let started = Self::spawn(shared, false);
                state = shared.lock();
                if let Ok(thread) = started {
                    state.handles.push(thread);
                    continue;
                }
                state.threads -= 1;
                // Nobody would wake it any more.
                if state.ended {
                    return;
                }
            }
            state = shared.short.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        let me = std::thread::current().id();
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.free -= 1;
                state.busy.insert(me);
                drop(state);
                job();
                state = self.lock();
                state.busy.remove(&me);
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

    #[test]
    fn nobody_is_left_but_who_is_in_a_call() {
        let pool = Pool::new("test", 50, 40);
        let shared = Arc::downgrade(&pool.shared);
        let (hold, held) = mpsc::channel::<()>();
        let (told, tells) = mpsc::channel();
        pool.start(move || {
            told.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
        tells.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(pool);
        assert_eq!(
            shared.strong_count(),
            1,
            "the one in the call, and none that was free or just being started"
        );
        drop(hold);
    }
}
