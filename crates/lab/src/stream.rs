//! A TCP connection to a VIP that is held and written to.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::client::parse;
use crate::service::SERVICE_PORT;

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_millis(250);

/// Something that the user of a TCP connection notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// When, on `CLOCK_MONOTONIC`.
    pub at: Instant,
    /// What.
    pub what: StreamChange,
}

/// What the user of a TCP connection notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// A connection was made.
    Connected,
    /// A request was answered by this host.
    Answered {
        /// Its name.
        by: String,
    },
    /// The connection broke; `ConnectionReset` if the other side said that it knows nothing of it. The client connects
    /// anew at once.
    Broken(io::ErrorKind),
    /// An attempt to connect failed; noted once for each kind in a row.
    Refused(io::ErrorKind),
}

/// What has happened so far.
#[derive(Default)]
pub(crate) struct StreamEvents {
    list: Mutex<Vec<StreamEvent>>,
    grown: Condvar,
}

impl StreamEvents {
    fn lock(&self) -> MutexGuard<'_, Vec<StreamEvent>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self) -> Vec<StreamEvent> {
        self.lock().clone()
    }

    pub(crate) fn wait_until(
        &self,
        deadline: Instant,
        mut predicate: impl FnMut(&[StreamEvent]) -> bool,
    ) -> bool {
        let mut list = self.lock();
        loop {
            if predicate(&list) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            list = self.grown.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note(&self, what: StreamChange) {
        let mut list = self.lock();
        let again =
            matches!(what, StreamChange::Refused(_)) && list.last().is_some_and(|last| last.what == what);
        if !again {
            list.push(StreamEvent { at: Instant::now(), what });
            self.grown.notify_all();
        }
    }
}

/// Connects, asks, connects again, until told to stop.
pub(crate) fn run(vip: IpAddr, period: Duration, events: &StreamEvents, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match TcpStream::connect_timeout(&SocketAddr::new(vip, SERVICE_PORT), CONNECT) {
            Ok(stream) => {
                events.note(StreamChange::Connected);
                if let Err(error) = converse(stream, period, events, stop) {
                    events.note(StreamChange::Broken(error.kind()));
                }
            }
            Err(error) => {
                events.note(StreamChange::Refused(error.kind()));
                std::thread::sleep(period);
            }
        }
    }
}

/// Asks again and again on one connection. Silence is no error: whoever holds a connection waits.
fn converse(
    mut stream: TcpStream,
    period: Duration,
    events: &StreamEvents,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(period))?;
    let mut received = Vec::new();
    let mut number: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = Instant::now() + period;
        match stream.write(&number.to_be_bytes()) {
            Ok(8) => number += 1,
            // Part of a request is worse than none: the answers would no longer match.
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if is_silence(&error) => {}
            Err(error) => return Err(error),
        }
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            stream.set_read_timeout(Some(left))?;
            let mut part = [0; 512];
            match stream.read(&mut part) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => received.extend_from_slice(&part[..count]),
                Err(error) if is_silence(&error) => break,
                Err(error) => return Err(error),
            }
            while let Some((_, by)) = parse(&received) {
                let by = by.to_owned();
                received.drain(..9 + by.len());
                events.note(StreamChange::Answered { by });
            }
        }
    }
    Ok(())
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
