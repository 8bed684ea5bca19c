//! Requests from outside the program: the console, the service control manager.

use std::collections::VecDeque;
use std::io;
use std::os::windows::io::AsHandle as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, GetConsoleCP,
    SetConsoleCtrlHandler,
};

use super::super::event::Event;
use super::{Source, Waitable};

/// A request from outside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop (the console is closed, Ctrl-Break, the machine shuts down, or the service is to stop).
    Terminate,
    /// Stop, from the keyboard (Ctrl-C).
    Interrupt,
    /// Read the configuration again (the service is told of new parameters).
    Hangup,
    /// A child process ended or stopped. Never told here: wait for the [`Child`](crate::process::Child) itself.
    Child,
}

/// Signals as something to read (SetConsoleCtrlHandler, and [`request`]).
#[derive(Debug)]
pub struct Signals {
    inbox: Arc<Inbox>,
}

#[derive(Debug)]
struct Inbox {
    wanted: Vec<Signal>,
    /// Gets all that the console says; else Ctrl-C only, the rest being told to a child on the same console.
    console: bool,
    waiting: Mutex<VecDeque<Signal>>,
    event: Event,
}

/// What the process knows of signals.
#[derive(Debug)]
struct Desk {
    inboxes: Vec<Weak<Inbox>>,
    /// Taken away from their usual effect, for ever.
    blocked: Vec<Signal>,
    /// Told before anybody wanted to read them, or when nobody did any more.
    early: Vec<Signal>,
}

static DESK: Mutex<Desk> = Mutex::new(Desk { inboxes: Vec::new(), blocked: Vec::new(), early: Vec::new() });

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Takes the signals away from their usual effect, in all of the process, and makes them readable here. Dropping it
    /// leaves them to the next who reads them.
    ///
    /// # Errors
    /// No handles or memory left, or the console cannot be listened to; nothing has changed then.
    pub fn block_and_open(signals: &[Signal]) -> io::Result<Self> {
        Self::open(signals, true)
    }

    /// The same for whoever has a child do the work, which Ctrl-C does not reach: what else the console says has no effect if
    /// that is on the same console, and hears it itself.
    ///
    /// # Errors
    /// As there.
    pub(in super::super) fn for_child(signals: &[Signal]) -> io::Result<Self> {
        Self::open(signals, !has_console())
    }

    fn open(signals: &[Signal], console: bool) -> io::Result<Self> {
        let inbox = Arc::new(Inbox {
            wanted: signals.to_vec(),
            console,
            waiting: Mutex::default(),
            event: Event::new()?,
        });
        let mut desk = block(signals)?;
        let (early, later) = desk.early.drain(..).partition(|signal| signals.contains(signal));
        desk.early = later;
        let early: Vec<Signal> = early;
        early.into_iter().for_each(|signal| inbox.put(signal));
        desk.inboxes.retain(|known| known.strong_count() > 0);
        desk.inboxes.push(Arc::downgrade(&inbox));
        Ok(Self { inbox })
    }

    /// The next signal, if there is one. Never blocks.
    ///
    /// # Errors
    /// None here.
    #[expect(clippy::should_implement_trait, reason = "no iterator: `None` is not the end")]
    pub fn next(&mut self) -> io::Result<Option<Signal>> {
        let mut waiting = lock(&self.inbox.waiting);
        let signal = waiting.pop_front();
        if waiting.is_empty() {
            self.inbox.event.reset();
        }
        Ok(signal)
    }
}

/// Takes the signals away from their usual effect, in all of the process, and keeps those that come for the first who reads them.
///
/// # Errors
/// The console cannot be listened to; nothing has changed then.
pub(in super::super) fn hold(signals: &[Signal]) -> io::Result<()> {
    block(signals).map(drop)
}

fn block(signals: &[Signal]) -> io::Result<MutexGuard<'static, Desk>> {
    static HANDLER: Once = Once::new();
    let mut listens = Ok(());
    HANDLER.call_once(|| {
        // SAFETY: the handler lives as long as the program, and may be called on any thread.
        if unsafe { SetConsoleCtrlHandler(Some(on_console), 1) } == 0 {
            listens = Err(io::Error::last_os_error());
        }
    });
    listens?;
    let mut desk = lock(&DESK);
    for signal in signals {
        if !desk.blocked.contains(signal) {
            desk.blocked.push(*signal);
        }
    }
    Ok(desk)
}

/// The console has told all processes on it to end.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Whether it has.
pub(in super::super) fn console_ends() -> bool {
    ENDS.load(Ordering::Relaxed)
}

/// Whether this process is on a console; the children that it starts are on the same one.
pub(in super::super) fn has_console() -> bool {
    // SAFETY: takes no pointer.
    unsafe { GetConsoleCP() != 0 }
}

impl Inbox {
    fn put(&self, signal: Signal) {
        let mut waiting = lock(&self.waiting);
        // As on other systems: one that waits already is not told twice.
        if !waiting.contains(&signal) {
            waiting.push_back(signal);
        }
        // Under the lock, or `next` might take back what was just set.
        self.event.set();
    }
}

impl Waitable for Signals {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.inbox.event.as_handle())
    }
}

/// Tells this process a signal, as the console would: for the service control handler. One that nobody wants to read yet is
/// kept for the first who does.
pub fn request(signal: Signal) {
    // One lock, or whoever opens meanwhile would miss it.
    let mut desk = lock(&DESK);
    if !desk.deliver(signal, false) {
        desk.keep(signal);
    }
}

impl Desk {
    /// Whether somebody reads it.
    fn deliver(&self, signal: Signal, console: bool) -> bool {
        let inboxes: Vec<_> = self
            .inboxes
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|inbox| {
                inbox.wanted.contains(&signal) && (inbox.console || !console || signal == Signal::Interrupt)
            })
            .collect();
        inboxes.iter().for_each(|inbox| inbox.put(signal));
        !inboxes.is_empty()
    }

    fn keep(&mut self, signal: Signal) {
        if !self.early.contains(&signal) {
            self.early.push(signal);
        }
    }
}

/// Called by the system, on a thread of its own. Not zero: handled; else the process is ended.
unsafe extern "system" fn on_console(event: u32) -> i32 {
    let signal = match event {
        CTRL_C_EVENT => Signal::Interrupt,
        CTRL_BREAK_EVENT | CTRL_CLOSE_EVENT | CTRL_SHUTDOWN_EVENT => Signal::Terminate,
        // Told to services only, of a user that is none of theirs.
        CTRL_LOGOFF_EVENT => return 1,
        _ => return 0,
    };
    if signal == Signal::Terminate {
        ENDS.store(true, Ordering::Relaxed);
    }
    let mut desk = lock(&DESK);
    let mut heard = desk.deliver(signal, true);
    if !heard && desk.blocked.contains(&signal) {
        desk.keep(signal);
        heard = true;
    }
    drop(desk);
    if heard && matches!(event, CTRL_CLOSE_EVENT | CTRL_SHUTDOWN_EVENT) {
        // The system ends the process as soon as this returns, or some seconds later: until then it may finish its work.
        loop {
            std::thread::park();
        }
    }
    i32::from(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hangup is wanted by this test alone: others would take it away.
    #[test]
    fn what_is_requested_too_early_is_told_later_and_once() {
        request(Signal::Hangup);
        request(Signal::Hangup);
        let mut signals = Signals::block_and_open(&[Signal::Hangup]).unwrap();
        assert_eq!(signals.next().unwrap(), Some(Signal::Hangup));
        assert_eq!(signals.next().unwrap(), None);
        request(Signal::Hangup);
        assert_eq!(signals.next().unwrap(), Some(Signal::Hangup));
    }

    // Interrupt likewise. That a console calls the handler is not tested: there is none here.
    #[test]
    fn the_console_is_obeyed_until_somebody_reads_it() {
        // SAFETY: the handler takes no pointer and may be called by anybody.
        let told = |event| unsafe { on_console(event) };
        assert_eq!(told(CTRL_LOGOFF_EVENT), 1);
        assert_eq!(told(CTRL_C_EVENT), 0);
        let mut signals = Signals::block_and_open(&[Signal::Interrupt]).unwrap();
        assert_eq!(told(CTRL_C_EVENT), 1);
        assert_eq!(told(CTRL_C_EVENT), 1);
        assert_eq!(signals.next().unwrap(), Some(Signal::Interrupt));
        assert_eq!(signals.next().unwrap(), None);
        drop(signals);
        assert_eq!(told(CTRL_C_EVENT), 1, "kept for the next who reads it");
        let mut signals = Signals::for_child(&[Signal::Interrupt]).unwrap();
        assert_eq!(signals.next().unwrap(), Some(Signal::Interrupt));
        assert_eq!(told(CTRL_C_EVENT), 1);
        assert_eq!(signals.next().unwrap(), Some(Signal::Interrupt), "no child hears that");
        assert!(!console_ends());
    }
}
