//! A client that asks for VIPs all the time and remembers who answered when.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::error::{Error, Result, While};
use crate::host::Host;
use crate::mac::Mac;
use crate::realtime::{Rank, real_time};
use crate::record::{Answer, Probe, Record};
use crate::service::SERVICE_PORT;
use crate::stream::{self, StreamEvent, StreamEvents};

/// A client that was late by more than this has measured itself.
pub const LATE: Duration = Duration::from_millis(5);

/// How a client asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// From one UDP probe to the next.
    pub period: Duration,
    /// From one request on the TCP connection to the next; `None` for no TCP connection.
    pub stream_period: Option<Duration>,
}

impl Default for ClientOptions {
    /// 1,000 probes a second, and a TCP connection that is written to 50 times a second.
    fn default() -> Self {
        Self { period: Duration::from_millis(1), stream_period: Some(Duration::from_millis(20)) }
    }
}

/// Asks for VIPs over UDP at a steady pace, holds a TCP connection to each, and remembers. Stops when dropped.
///
/// One thread for each VIP and protocol; the ones for UDP run at real-time priority where permitted, and keep to a
/// grid of absolute deadlines. A probe that could not be sent because the client itself was late by more than a period
/// is left out, not counted as lost; see [`lateness`](Self::lateness).
pub struct Client {
    host: Host,
    period: Duration,
    vips: BTreeMap<IpAddr, Mutex<Collector>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    real_time: bool,
}

struct Collector {
    notes: Receiver<Note>,
    record: Record,
    streams: Arc<StreamEvents>,
}

enum Note {
    /// Numbers are given without gaps, from 0.
    Sent {
        at: Instant,
        left: bool,
    },
    Answered {
        number: u64,
        answer: Answer,
    },
    Late {
        due: Instant,
        by: Duration,
    },
}

impl Client {
    pub(crate) fn start(host: &Host, vips: &[IpAddr], options: ClientOptions) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = Self {
            host: host.clone(),
            period: options.period,
            vips: BTreeMap::new(),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
            real_time: true,
        };
        for &vip in vips {
            let socket = host.run(|| open(vip)).doing(|| format!("open a socket for {vip}"))?;
            let (sender, notes) = mpsc::channel();
            let (ready, started) = mpsc::channel();
            let (stopped, period) = (Arc::clone(&stop), options.period);
            client.threads.push(host.thread("lab-prober", move || {
                let _ = ready.send(real_time(Rank::Prober));
                probe(&socket, SocketAddr::new(vip, SERVICE_PORT), period, &sender, &stopped);
            })?);
            client.real_time &= started.recv().unwrap_or(false);
            let streams = Arc::new(StreamEvents::default());
            if let Some(period) = options.stream_period {
                let (events, stopped) = (Arc::clone(&streams), Arc::clone(&stop));
                client
                    .threads
                    .push(host.thread("lab-stream", move || stream::run(vip, period, &events, &stopped))?);
            }
            let record = Record { vip, probes: Vec::new(), late: Vec::new() };
            client.vips.insert(vip, Mutex::new(Collector { notes, record, streams }));
        }
        Ok(client)
    }

    /// The VIPs that it asks for.
    pub fn vips(&self) -> Vec<IpAddr> {
        self.vips.keys().copied().collect()
    }

    /// From one probe to the next.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What it has seen of one VIP so far.
    ///
    /// # Errors
    ///
    /// It does not ask for this one.
    pub fn record(&self, vip: IpAddr) -> Result<Record> {
        Ok(self.collector(vip)?.record.clone())
    }

    /// What happened on the TCP connection to one VIP so far.
    ///
    /// # Errors
    ///
    /// It does not ask for this one.
    pub fn stream(&self, vip: IpAddr) -> Result<Vec<StreamEvent>> {
        Ok(self.collector(vip)?.streams.list())
    }

    /// The longest outage of any of the VIPs: from the last answer before to the first answer after. One period (1 ms)
    /// if nothing was lost. See [`Record::longest_outage`].
    pub fn outage(&self, since: Instant) -> Duration {
        self.worst(|record| record.longest_outage(since).duration)
    }

    /// Probes sent in this stretch of time that nobody answered, for the VIP that lost most. See [`Record::lost`].
    pub fn lost_probes(&self, since: Instant, until: Instant) -> usize {
        self.worst(|record| record.lost(since, until))
    }

    /// How late the client itself was at worst since then.
    pub fn lateness(&self, since: Instant) -> Duration {
        self.worst(|record| record.lateness(since))
    }

    /// True if the client itself was late by more than [`LATE`] since then: its figures say more about this machine
    /// than about whoever answered.
    pub fn was_late(&self, since: Instant) -> bool {
        self.lateness(since) > LATE
    }

    /// True if it runs at real-time priority.
    pub fn real_time(&self) -> bool {
        self.real_time
    }

    /// Waits until `predicate` holds of what it has seen of one VIP, looking again after every probe and answer; false
    /// if it did not by `deadline`, or if the client does not ask for this VIP.
    pub fn wait_until(
        &self,
        vip: IpAddr,
        deadline: Instant,
        mut predicate: impl FnMut(&Record) -> bool,
    ) -> bool {
        let Ok(mut collector) = self.collector(vip) else { return false };
        loop {
            if predicate(&collector.record) {
                return true;
            }
            match collector.notes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(note) => collector.take(note),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
            collector.drain();
        }
    }

    /// Waits until `host` has answered a probe for `vip` that was sent after `since`; false if not by `deadline`.
    pub fn wait_answer_by(&self, vip: IpAddr, host: &str, since: Instant, deadline: Instant) -> bool {
        let by_host = |probe: &Probe| probe.answer.as_ref().is_some_and(|answer| &*answer.by == host);
        self.wait_until(vip, deadline, |record| {
            let first = record.probes.partition_point(|probe| probe.sent < since);
            record.probes[first..].iter().any(by_host)
        })
    }

    /// Waits until `predicate` holds of what happened on the TCP connection to one VIP; false if it did not by
    /// `deadline`, or if the client does not ask for this VIP.
    pub fn wait_stream(
        &self,
        vip: IpAddr,
        deadline: Instant,
        predicate: impl FnMut(&[StreamEvent]) -> bool,
    ) -> bool {
        let Ok(events) = self.collector(vip).map(|collector| Arc::clone(&collector.streams)) else {
            return false;
        };
        events.wait_until(deadline, predicate)
    }

    /// The hardware address to which the client would send for `vip` now. Asks nobody.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn neighbor(&self, vip: IpAddr) -> Result<Option<Mac>> {
        self.host.neighbor(vip)
    }

    fn worst<T: Ord + Default>(&self, question: impl Fn(&Record) -> T) -> T {
        let answers = self.vips.keys().filter_map(|&vip| self.collector(vip).ok());
        answers.map(|collector| question(&collector.record)).max().unwrap_or_default()
    }

    /// Up to date.
    fn collector(&self, vip: IpAddr) -> Result<MutexGuard<'_, Collector>> {
        let collector =
            self.vips.get(&vip).ok_or_else(|| Error::Name(format!("the client does not ask for {vip}")))?;
        let mut collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.drain();
        Ok(collector)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Collector {
    fn drain(&mut self) {
        while let Ok(note) = self.notes.try_recv() {
            self.take(note);
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Sent { at, left } => self.record.probes.push(Probe { sent: at, left, answer: None }),
            Note::Answered { number, answer } => {
                let probe =
                    usize::try_from(number).ok().and_then(|number| self.record.probes.get_mut(number));
                if let Some(probe) = probe {
                    probe.answer.get_or_insert(answer);
                }
            }
            Note::Late { due, by } => self.record.late.push((due, by)),
        }
    }
}

fn open(vip: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match vip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends and receives until told to stop. Notes are sent through a channel, so that whoever asks questions never
/// makes this thread wait.
fn probe(socket: &UdpSocket, to: SocketAddr, period: Duration, notes: &Sender<Note>, stop: &AtomicBool) {
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut number: u64 = 0;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= due {
            let late = now - due;
            if late > period {
                let _ = notes.send(Note::Late { due, by: late });
            }
            let left = send(socket, to, number);
            // Sent only after the fact, so that a slow channel does not make the probe look slow.
            let _ = notes.send(Note::Sent { at: now, left });
            number += 1;
            // What was missed meanwhile is left out; the grid stays.
            let periods = late.as_nanos() / period.as_nanos().max(1) + 1;
            due += period * u32::try_from(periods).unwrap_or(u32::MAX);
        }
        while let Some((number, answer)) = receive(socket, to, &mut names) {
            let _ = notes.send(Note::Answered { number, answer });
        }
        let left = due.saturating_duration_since(Instant::now());
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let _ = ppoll(&mut waiting, Some(TimeSpec::from_duration(left)), None);
    }
}

/// False if the kernel has no way to send it.
fn send(socket: &UdpSocket, to: SocketAddr, number: u64) -> bool {
    // Errors may belong to an earlier probe: then the kernel reports it instead of sending. Once more.
    (0..2).any(|_| socket.send_to(&number.to_be_bytes(), to).is_ok())
}

fn receive(socket: &UdpSocket, from: SocketAddr, names: &mut Vec<Arc<str>>) -> Option<(u64, Answer)> {
    let mut buffer = [0; 512];
    // As many errors may wait as probes were refused.
    for _ in 0..64 {
        let (length, sender) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => continue,
        };
        let at = Instant::now();
        if sender.ip() != from.ip() {
            continue;
        }
        let Some((number, name)) = parse(&buffer[..length]) else { continue };
        let by = match names.iter().find(|known| ***known == *name) {
            Some(known) => Arc::clone(known),
            None => {
                names.push(name.into());
                Arc::clone(&names[names.len() - 1])
            }
        };
        return Some((number, Answer { at, by }));
    }
    None
}

/// Asks from the calling thread's namespace until there is an answer.
pub(crate) fn ask(address: IpAddr, deadline: Instant) -> Option<String> {
    let to = SocketAddr::new(address, SERVICE_PORT);
    let socket = open(address).ok()?;
    let mut number = 0;
    while Instant::now() < deadline {
        send(&socket, to, number);
        number += 1;
        let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(5));
        let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let _ = ppoll(&mut waiting, Some(TimeSpec::from_duration(left)), None);
        if let Some((_, answer)) = receive(&socket, to, &mut Vec::new()) {
            return Some((*answer.by).to_owned());
        }
    }
    None
}

/// The number and the name in an answer of the service.
pub(crate) fn parse(answer: &[u8]) -> Option<(u64, &str)> {
    let (number, rest) = answer.split_first_chunk::<8>()?;
    let (&length, rest) = rest.split_first()?;
    let name = std::str::from_utf8(rest.get(..usize::from(length))?).ok()?;
    Some((u64::from_be_bytes(*number), name))
}
