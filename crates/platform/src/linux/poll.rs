//! Waiting for many things at once (epoll(7)), and the things to wait for besides sockets: timers, wake-ups, signals.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::socket::nothing_now;

/// One thing that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// What was said in [`Poller::add`].
    pub token: u64,
    /// Something can be read (a closed peer counts: reading says so).
    pub readable: bool,
    /// The other side hung up or the descriptor has an error; read to learn which.
    pub closed: bool,
}

/// Something that a [`Poller`] can wait for.
pub trait Waitable {
    /// What it waits for.
    fn waitable(&self) -> BorrowedFd<'_>;
}

impl<T: AsFd + ?Sized> Waitable for T {
    fn waitable(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Waits for descriptors to become readable. Level-triggered: what was not read is told again.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
}

/// Most events told by one [`Poller::wait`]; the rest is told by the next.
const BATCH: usize = 64;

impl Poller {
    /// A poller that waits for nothing yet.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Waits for `what` to become readable from now on; told as `token`. Forgotten when `what` is closed for good.
    ///
    /// # Errors
    /// Already added; a file that cannot be waited for.
    pub fn add(&self, what: &(impl Waitable + ?Sized), token: u64) -> io::Result<()> {
        Ok(self.epoll.add(what.waitable(), EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Waits for `what` no longer.
    ///
    /// # Errors
    /// It was not added.
    pub fn remove(&self, what: &(impl Waitable + ?Sized)) -> io::Result<()> {
        Ok(self.epoll.delete(what.waitable())?)
    }

    /// Waits until something is ready or `timeout` is over (rounded up to milliseconds; `None` = for ever; for precise
    /// moments add a [`Timer`]). Replaces the contents of `ready`; left empty after a timeout or a signal.
    ///
    /// # Errors
    /// Faults of the poller itself.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(timeout) => {
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::MAX)
            }
        };
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        ready.extend(events[..count].iter().map(|event| Ready {
            token: event.data(),
            readable: event.events().contains(EpollFlags::EPOLLIN),
            closed: event.events().intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
        }));
        Ok(())
    }
}

/// An alarm on the clock of [`boot_time`](super::clock::boot_time) (timerfd_create(2)). Readable from the moment it was
/// set to, until it is set again or cleared.
#[derive(Debug)]
pub struct Timer {
    timer: TimerFd,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)? })
    }

    /// Sets it to go off at `at` since boot, instead of any earlier setting; at once if that has passed.
    ///
    /// # Errors
    /// None in practice.
    pub fn set(&self, at: Duration) -> io::Result<()> {
        // Zero would switch the timer off (timerfd_settime(2)).
        let at = at.max(Duration::from_nanos(1));
        Ok(self
            .timer
            .set(Expiration::OneShot(TimeSpec::from_duration(at)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Switches it off; it is no longer readable.
    ///
    /// # Errors
    /// None in practice.
    pub fn clear(&self) -> io::Result<()> {
        Ok(self.timer.unset()?)
    }

    /// Whether it went off since it was set, and if so, makes it not readable.
    ///
    /// # Errors
    /// None in practice.
    pub fn fired(&self) -> io::Result<bool> {
        Ok(nothing_now(|| self.timer.wait().map_err(io::Error::from))?.is_some())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Wakes a poller from another thread (eventfd(2)). Readable from [`Wake::wake`] until [`Wake::clear`].
#[derive(Debug)]
pub struct Wake {
    event: EventFd,
}

impl Wake {
    /// A wake-up that is not pending.
    ///
    /// # Errors
    /// No descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)? })
    }

    /// Makes it readable. Never blocks; many calls count as one.
    pub fn wake(&self) {
        // The only possible failure is a full counter: readable already.
        let _ = self.event.write(1);
    }

    /// Makes it not readable; whether it was.
    pub fn clear(&self) -> bool {
        self.event.read().is_ok()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl From<OwnedFd> for Wake {
    /// Takes over an eventfd that does not block.
    fn from(fd: OwnedFd) -> Self {
        // SAFETY: ownership of the descriptor passes from `fd` to the wrapper; whatever kind of file it is, reading and
        // writing it is memory-safe.
        let event = unsafe { EventFd::from_owned_fd(fd) };
        Self { event }
    }
}

/// A request from outside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop (`SIGTERM`).
    Terminate,
    /// Stop, from the keyboard (`SIGINT`).
    Interrupt,
    /// Read the configuration again (`SIGHUP`).
    Hangup,
    /// A child process ended or stopped (`SIGCHLD`).
    Child,
}

impl Signal {
    fn number(self) -> Number {
        match self {
            Self::Terminate => Number::SIGTERM,
            Self::Interrupt => Number::SIGINT,
            Self::Hangup => Number::SIGHUP,
            Self::Child => Number::SIGCHLD,
        }
    }
}

/// Signals as something to read (signalfd(2)).
#[derive(Debug)]
pub struct Signals {
    signals: SignalFd,
}

impl Signals {
    /// Takes the signals away from their usual effect, in this thread and in threads that it starts later, and makes
    /// them readable here. Call it before starting threads. Dropping it leaves the signals blocked.
    ///
    /// # Errors
    /// No descriptors or memory left; the signals may then be blocked already.
    pub fn block_and_open(signals: &[Signal]) -> io::Result<Self> {
        let mask: SigSet = signals.iter().map(|signal| signal.number()).collect();
        mask.thread_block()?;
        Ok(Self { signals: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)? })
    }

    /// The next signal, if there is one. Never blocks.
    ///
    /// # Errors
    /// Faults of the descriptor.
    #[expect(clippy::should_implement_trait, reason = "no iterator: `None` is not the end")]
    pub fn next(&mut self) -> io::Result<Option<Signal>> {
        while let Some(info) = self.signals.read_signal()? {
            let known = [Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::Child];
            let number = info.ssi_signo.cast_signed();
            if let Some(signal) = known.into_iter().find(|signal| signal.number() as i32 == number) {
                return Ok(Some(signal));
            }
        }
        Ok(None)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::boot_time;
    use super::*;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn a_timer_goes_off_at_its_moment_and_not_before() {
        let (poller, timer) = (Poller::new().unwrap(), Timer::new().unwrap());
        poller.add(&timer, 7).unwrap();
        let mut ready = Vec::new();

        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
        assert!(!timer.fired().unwrap());

        let at = boot_time() + Duration::from_millis(30);
        timer.set(at).unwrap();
        poller.wait(&mut ready, PATIENCE).unwrap();
        assert!(boot_time() >= at);
        assert_eq!(ready, [Ready { token: 7, readable: true, closed: false }]);
        assert!(timer.fired().unwrap());
        assert!(!timer.fired().unwrap(), "told once");
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, [], "no longer readable");
    }

    #[test]
    fn a_timer_set_to_the_past_goes_off_at_once_and_clearing_takes_it_back() {
        let (poller, timer) = (Poller::new().unwrap(), Timer::new().unwrap());
        poller.add(&timer, 1).unwrap();
        let mut ready = Vec::new();
        timer.set(Duration::ZERO).unwrap();
        poller.wait(&mut ready, PATIENCE).unwrap();
        assert_eq!(ready.len(), 1);
        timer.clear().unwrap();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
        assert!(!timer.fired().unwrap());
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_waiting() {
        let (poller, wake) = (Poller::new().unwrap(), Wake::new().unwrap());
        poller.add(&wake, 3).unwrap();
        let mut ready = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wake.wake();
                wake.wake();
            });
            poller.wait(&mut ready, PATIENCE).unwrap();
        });
        assert_eq!(ready, [Ready { token: 3, readable: true, closed: false }]);
        assert!(wake.clear());
        assert!(!wake.clear(), "two wakes count as one");
    }

    #[test]
    fn removed_things_are_not_told_and_closed_peers_are() {
        let poller = Poller::new().unwrap();
        let (left, right) = super::super::pipe::pair().unwrap();
        poller.add(&left, 1).unwrap();
        let mut ready = Vec::new();
        drop(right);
        poller.wait(&mut ready, PATIENCE).unwrap();
        assert_eq!(ready, [Ready { token: 1, readable: true, closed: true }]);
        poller.remove(&left).unwrap();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn signals_are_read_instead_of_obeyed() {
        let mut signals = Signals::block_and_open(&[Signal::Hangup, Signal::Terminate]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // To this thread only: the other tests' threads have nothing blocked.
        nix::sys::pthread::pthread_kill(nix::sys::pthread::pthread_self(), Number::SIGTERM).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(&signals, 5).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, PATIENCE).unwrap();
        assert_eq!(ready.len(), 1);
        assert_eq!(signals.next().unwrap(), Some(Signal::Terminate));
        assert_eq!(signals.next().unwrap(), None);
    }
}
