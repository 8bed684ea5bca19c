//! ARP and Neighbor Discovery without a driver.
//!
//! Windows gives no program a way to send or hear Ethernet frames: raw sockets begin at IP (Microsoft, "TCP/IP Raw Sockets"),
//! and ARP is none. So a [`FrameSocket`] is a translator. It takes the frames that the core makes, does what comes nearest, and
//! writes the frame that an answer would have been.
//!
//! | The core sends | What is done |
//! |---|---|
//! | ARP request or probe, Neighbor Solicitation | `ResolveIpNetEntry2` for the target on that interface |
//! | gratuitous ARP in request form | `ResolveIpNetEntry2` for the gateways and a few neighbours, with the announced address as `SourceAddress` |
//! | gratuitous ARP in reply form | nothing: it follows the request form, and there is no second way |
//! | unsolicited Neighbor Advertisement | the same message from a raw ICMPv6 socket; where that is not permitted, as for ARP |
//!
//! # Questions
//!
//! "This function flushes any existing neighbor entry that matches the IP address on the interface and then resolves the
//! physical address (MAC) address by sending ARP requests for an IPv4 address or neighbor solicitation requests for an IPv6
//! address" (ResolveIpNetEntry2). So each call asks anew, and a positive answer is one that was just given. It becomes an ARP reply
//! or a Neighbor Advertisement, delivered by [`FrameSocket::receive`] with the index of the interface. Nobody answers
//! (`ERROR_BAD_NET_NAME`), or not yet: nothing is delivered, and the core counts silence as it does on Linux.
//!
//! What differs: the request carries an own address of the interface as its sender instead of 0.0.0.0, so it claims
//! nothing, but whoever hears it learns that own address. The entry of a neighbour that is asked for is forgotten for a moment;
//! what is sent to it in that moment waits in the system.
//!
//! **How many at once.** A call that nobody answers returns after seconds (the system asks three times, a second apart). The core
//! takes silence for an answer after 3 rounds (`ROUNDS`) within [`ANSWERS_WITHIN`], and may begin to count anew while
//! calls of an earlier series are still out. So at most [`EACH`] calls for a target are begun within [`WINDOW`]; a question more in
//! that time is taken as asked by those, which see an answer whenever there is one. Each call holds a thread, so while nobody answers
//! a target holds up to 18 of them, and [`MOST`] let some 56 addresses be asked for at once that nobody answers for; answered
//! ones hold a thread for a millisecond. Beyond that, frames are refused. Threads for 32 VIPs are started beforehand, since the
//! thread that sends is the one that sends heartbeats.
//!
//! **Never in silence.** Since the core takes silence for "free", a question that is not asked must not look like one that was
//! not answered. What cannot be begun at once is refused in [`Burst`] ([`io::ErrorKind::WouldBlock`]). A call that fails without
//! having asked (no such interface) is told with the next question for the same target, which is tried and refused.
//!
//! # Announcements
//!
//! RFC 826, "Packet Reception": whoever hears an ARP packet and has the sender's protocol address in its table updates the
//! hardware address, before it looks whether the packet is for itself and what it asks. An ARP request is broadcast. So any
//! question asked *in the name of* the new address moves it in every table that has it, as a gratuitous ARP does:
//!
//! 1. request, broadcast, sender = the VIP and this machine's MAC, target = a gateway: every station that knows the VIP
//!    updates its entry (RFC 826); the gateway, which is the target, also makes one if it had none (same place);
//! 2. reply, unicast, from the gateway;
//! 3. the same for up to four neighbours heard from lately, when no other announcement waits: more requests to hear,
//!    for whoever missed the first.
//!
//! Where nobody is known, an address beside the VIP is asked for: the broadcast is the same.
//!
//! Not seen on a real Windows, and documented in no place: that the sender's address in the request is `SourceAddress`
//! (documented only: "will select the interface with this source IP address"), also when the address is `SkipAsSource`; and that
//! the request is a broadcast although a neighbour was known a moment before. What Windows itself sends when an address is created
//! is not documented either; since Vista the probe of duplicate address detection has 0.0.0.0 as its sender and moves no
//! table (Microsoft, "ARP changes in Windows Server 2008 and Vista").
//!
//! IPv6: an advertisement with the override flag moves the entry of every node that has one (RFC 4861 7.2.5). Raw sockets
//! need administrator rights. The way without them, a solicitation with the VIP as its source, is heard only by the
//! node it asks for (RFC 4861 7.2.3), so only gateways and those neighbours learn of it.
//!
//! # What is not heard
//!
//! Frames of others. The core does not hear a rival's announcement or its questions, learns no neighbours as references
//! (gateways it does), and notices another holder only by asking (verification, routine questions) and when Windows itself
//! calls the address a duplicate, see [`addresses`](super::addresses).
//!
//! # With a driver
//!
//! Where Npcap is installed, and lets this process use it, all of this is as on Linux: [`FrameSocket::attend`] opens the
//! interfaces (`driver.rs`), and frames go out and come in as they are. It is all of them or none, since the core reckons
//! with one time for answers. A driver that is taken away later has questions refused, never answered by silence. One without
//! immediate mode (Npcap's predecessor WinPcap) has frames wait; that time is reckoned with.

mod announce;
mod driver;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use announce::{Announcement, Announcer};
use driver::Driver;
pub(super) use translate::checksum;
use translate::{Meaning, Question};

use super::descriptor::{AsDescriptor, Borrowed, Owned};
use super::event::Event;
use super::mailbox::Mailbox;
use super::poll::{Source, Waitable};
use super::pool::Pool;
use super::resolve::resolve;

/// What this system adds to the time that an answer takes without a driver: a question passes through two threads and the
/// system's own queues. Nobody has measured it yet; the selftest does.
const ANSWERS_WITHIN: Duration = Duration::from_millis(100);

/// What a [`FrameSocket`] is for. On this system both kinds are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// ARP (RFC 826).
    Arp,
    /// IPv6 Neighbor Solicitations and Advertisements (ICMPv6 types 135 and 136, RFC 4861).
    Neighbor,
}

/// Why a socket could not be opened; nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The privilege is missing. Not on this system: asking needs none.
    #[error("not permitted to send frames")]
    NotPermitted,
    /// Anything else.
    #[error("cannot {step}: {source}")]
    Open {
        /// What was being done.
        step: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// What became of a burst of frames.
#[derive(Debug)]
#[must_use]
pub struct Burst {
    /// Frames that were taken: what they ask is being asked.
    pub sent: usize,
    /// Positions of the frames that were refused, in order, and why. Those after them were tried all the same.
    pub refused: Vec<(usize, io::Error)>,
}

/// Calls for one target that may begin within [`WINDOW`].
pub const EACH: usize = 3;
/// For so long a call stands for every question about its target.
pub const WINDOW: Duration = Duration::from_millis(500);
/// Calls that may be out for all targets.
pub const MOST: usize = 1024;

/// Threads that are ready beforehand: three rounds for the 32 addresses that a claim begins with.
const SPARE: usize = 96;

/// Asks and announces as frames say; never blocks. Handed to another process, nothing goes along but the event that
/// says that there is something to receive: threads are started by the first frame that is sent.
#[derive(Debug)]
pub struct FrameSocket {
    inbox: Arc<Mailbox<(u32, Vec<u8>)>>,
    workshop: OnceLock<Workshop>,
    driver: Option<Driver>,
}

/// What the first frame starts.
#[derive(Debug)]
struct Workshop {
    pool: Pool,
    announcer: Announcer,
    asked: Arc<Mutex<Asked>>,
}

/// Questions that are out.
#[derive(Debug, Default)]
struct Asked {
    /// When each call began.
    out: BTreeMap<(u32, IpAddr), Vec<Instant>>,
    /// Targets of questions that failed without being asked.
    failed: BTreeSet<(u32, IpAddr)>,
}

impl FrameSocket {
    /// Opens it.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(_kind: FrameKind) -> Result<Self, Error> {
        let event = Event::new().map_err(|source| Error::Open { step: "make an event", source })?;
        Ok(OwnedHandle::from(event).into())
    }

    /// Prepares for the interfaces of these names, before anything is sent: with a driver, if there is one that has all of them. Blocking.
    /// What a socket is for has to be said again, since one that was inherited does not know it. Answers what this system adds
    /// to the time that an answer takes.
    pub fn attend(&mut self, kind: FrameKind, interfaces: &[String]) -> Duration {
        self.driver = Driver::open(kind, interfaces, &self.inbox).ok();
        self.driver.as_ref().map_or(ANSWERS_WITHIN, Driver::late)
    }

    /// What frames go through, in words, if that is not the same on every machine.
    #[must_use]
    pub fn means(&self) -> Option<&'static str> {
        Some(match &self.driver {
            Some(driver) if driver.late().is_zero() => "Npcap",
            Some(_) => "a driver that lets them wait for up to 20 ms, which Npcap does not",
            None => "the system's own calls: no Npcap, or it is not for this user",
        })
    }

    /// Does what one whole frame (Ethernet header included) says, on an interface.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: too much is being asked; [`io::ErrorKind::Unsupported`]: it says nothing that can be
    /// done here. Nothing was asked.
    pub fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        match self.send_many(&[(interface, frame)]).refused.pop() {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// Does what many frames say, in order; a refused frame does not stop the others.
    pub fn send_many(&self, frames: &[(u32, &[u8])]) -> Burst {
        let mut burst = Burst { sent: 0, refused: Vec::new() };
        for (position, (interface, frame)) in frames.iter().enumerate() {
            let done = match &self.driver {
                Some(driver) => driver.send(*interface, frame),
                None => self.act(*interface, translate::meaning(frame)),
            };
            match done {
                Ok(()) => burst.sent += 1,
                Err(error) => burst.refused.push((position, error)),
            }
        }
        burst
    }

    fn act(&self, interface: u32, meaning: Meaning) -> io::Result<()> {
        let workshop = self.workshop.get_or_init(Workshop::new);
        match meaning {
            Meaning::Question(question) => workshop.ask(interface, question, &self.inbox),
            Meaning::Announcement { address, message } => {
                workshop.announcer.announce(Announcement { interface, address, message })
            }
            Meaning::AnnouncementAgain => Ok(()),
            Meaning::Nothing => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The next answer, if there is one, as a frame: index of the interface, and how many bytes of `buffer` it fills
    /// (a longer frame is cut).
    ///
    /// # Errors
    /// None on this system.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
        Ok(self.inbox.take().map(|(interface, frame)| {
            let length = frame.len().min(buffer.len());
            buffer[..length].copy_from_slice(&frame[..length]);
            (interface, length)
        }))
    }
}

impl Workshop {
    fn new() -> Self {
        Self { pool: Pool::new("ask", MOST, SPARE), announcer: Announcer::new(), asked: Arc::default() }
    }

    fn ask(
        &self,
        interface: u32,
        question: Question,
        inbox: &Arc<Mailbox<(u32, Vec<u8>)>>,
    ) -> io::Result<()> {
        let target = (interface, question.target);
        let mut asked = lock(&self.asked);
        let begun = Instant::now();
        let lately = |out: &Vec<Instant>| out.iter().filter(|at| begun.duration_since(**at) < WINDOW).count();
        if asked.out.get(&target).is_some_and(|out| lately(out) >= EACH) {
            return Ok(());
        }
        let (ends, inbox) = (Arc::clone(&self.asked), Arc::clone(inbox));
        self.pool.start(move || {
            // In its own name where it has one, so that the question comes from there.
            let source = Some(question.source).filter(|source| !source.is_unspecified());
            let answer = resolve(interface, question.target, source);
            lock(&ends).ended(target, begun, answer.is_err());
            if let Ok(Some(mac)) = answer
                && let Some(frame) = translate::answer(&question, mac)
            {
                inbox.put((interface, frame));
            }
        })?;
        asked.out.entry(target).or_default().push(begun);
        if asked.failed.remove(&target) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    }
}

impl Asked {
    fn ended(&mut self, target: (u32, IpAddr), begun: Instant, failed: bool) {
        if let Some(out) = self.out.get_mut(&target) {
            if let Some(at) = out.iter().position(|at| *at == begun) {
                out.swap_remove(at);
            }
            if out.is_empty() {
                self.out.remove(&target);
            }
        }
        if failed {
            self.failed.insert(target);
        } else {
            self.failed.remove(&target);
        }
    }
}

fn lock(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsHandle for FrameSocket {
    /// The event that is set while there is something to receive.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inbox.as_handle()
    }
}

impl From<OwnedHandle> for FrameSocket {
    /// Takes over the event of a socket opened by [`FrameSocket::open`], here or in the parent process.
    fn from(handle: OwnedHandle) -> Self {
        Self { inbox: Arc::new(Mailbox::new(handle.into())), workshop: OnceLock::new(), driver: None }
    }
}

impl Waitable for FrameSocket {
    fn waitable(&self) -> Source<'_> {
        Source::Object(self.as_handle())
    }
}

impl AsDescriptor for FrameSocket {
    fn as_descriptor(&self) -> Borrowed<'_> {
        self.as_handle().into()
    }
}

impl From<Owned> for FrameSocket {
    /// As from the handle of its event.
    fn from(owned: Owned) -> Self {
        OwnedHandle::from(owned).into()
    }
}
