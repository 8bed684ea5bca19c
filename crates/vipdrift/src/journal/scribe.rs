//! The heartbeat thread's end of the journal: copies what happens into a bounded queue, and never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::thread::Thread;
use std::time::Duration;

use vipdrift_core::{Action, Event, InterfaceIndex, Node, NodeConfig, PathIndex, Start, Timestamp};

use super::entry::{Hash, Said, state};

/// Entries that may wait for the disk.
pub(super) const KEPT: usize = 4096;
/// And about how many bytes of memory they may take.
pub(super) const KEPT_BYTES: usize = 4 << 20;
/// What an entry takes besides its bytes, about.
const ENTRY: usize = 160;
/// A state costs more than an entry: not more often than this, whatever was lost and however fast files fill.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the disk at the end.
const LAST: Duration = Duration::from_millis(300);
/// And when the core has panicked: the keeper waits for the end of this process.
const LAST_OF_PANIC: Duration = Duration::from_millis(20);

/// How a brain is born.
#[derive(Debug, Clone)]
pub(crate) struct Birth {
    pub(crate) config: NodeConfig,
    pub(crate) seed: u64,
    pub(crate) start: Start,
    pub(crate) at: Timestamp,
}

/// What both threads see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The writer needs a state to begin a segment with.
    pub(super) wants_state: AtomicBool,
    /// The writer has given up.
    pub(super) over: AtomicBool,
    /// Memory in the queue, about.
    pub(super) bytes: AtomicUsize,
}

/// What is handed over.
#[derive(Debug)]
pub(super) enum Handed {
    Birth {
        birth: Box<Birth>,
        incarnation: u64,
        hash: u64,
        said: Vec<Said>,
    },
    Step {
        at: Timestamp,
        event: Owned,
        hash: u64,
        said: Vec<Said>,
    },
    /// The state at a moment; `lost` steps before it were not handed over.
    State {
        at: Timestamp,
        incarnation: u64,
        state: Vec<u8>,
        lost: u64,
    },
    /// The end, and the state then.
    End {
        state: Vec<u8>,
    },
}

impl Handed {
    /// Memory that it takes, about.
    pub(super) fn size(&self) -> usize {
        ENTRY
            + match self {
                Self::Step { event: Owned::Datagram(_, bytes) | Owned::Frame(_, bytes), .. }
                | Self::State { state: bytes, .. }
                | Self::End { state: bytes } => bytes.len(),
                Self::Step { .. } | Self::Birth { .. } => 0,
            }
    }
}

/// An event that owns its bytes.
#[derive(Debug)]
pub(super) enum Owned {
    Datagram(Option<PathIndex>, Vec<u8>),
    Frame(InterfaceIndex, Vec<u8>),
    Other(Event<'static>),
}

impl From<&Event<'_>> for Owned {
    fn from(event: &Event<'_>) -> Self {
        Self::Other(match event {
            Event::Datagram { path, bytes } => return Self::Datagram(*path, bytes.to_vec()),
            Event::Frame { interface, bytes } => return Self::Frame(*interface, bytes.to_vec()),
            Event::Timeout => Event::Timeout,
            Event::EchoReply { from } => Event::EchoReply { from: *from },
            Event::Link { interface, facts } => Event::Link { interface: *interface, facts: facts.clone() },
            Event::Applied { plan, mounted, failed, complete } => Event::Applied {
                plan: *plan,
                mounted: mounted.clone(),
                failed: failed.clone(),
                complete: *complete,
            },
            Event::Drifted { vip, drift } => Event::Drifted { vip: *vip, drift: *drift },
            Event::ClockGap { missing } => Event::ClockGap { missing: *missing },
            Event::SlowSide { alive } => Event::SlowSide { alive: *alive },
            Event::Unasked { interface, target } => Event::Unasked { interface: *interface, target: *target },
            Event::KeeperGone => Event::KeeperGone,
            Event::Check { check, failing } => Event::Check { check: *check, failing: failing.clone() },
            Event::Prepared { group, number, outcome } => {
                Event::Prepared { group: *group, number: *number, outcome: outcome.clone() }
            }
            Event::Command(command) => Event::Command(command.clone()),
        })
    }
}

impl Owned {
    pub(super) fn borrow(&self) -> Event<'_> {
        match self {
            Self::Datagram(path, bytes) => Event::Datagram { path: *path, bytes },
            Self::Frame(interface, bytes) => Event::Frame { interface: *interface, bytes },
            Self::Other(event) => event.clone(),
        }
    }
}

/// What has happened and is not yet finished.
#[derive(Debug)]
enum Open {
    Nothing,
    Birth(Box<Birth>),
    Step(Timestamp, Owned),
    /// Not to be handed over.
    Lost(Timestamp),
}

/// See the module. For each event: [`Scribe::heard`], then [`Scribe::did`] for each action, then [`Scribe::done`].
#[derive(Debug)]
pub(crate) struct Scribe {
    /// Until the end.
    queue: Option<SyncSender<Handed>>,
    shared: Arc<Shared>,
    /// The writer says here that all is written.
    ended: Receiver<()>,
    open: Open,
    hash: Hash,
    said: Vec<Said>,
    /// Steps that were not handed over since the last that was; then a state must come first.
    lost: u64,
    /// When a state was last tried.
    tried: Timestamp,
    writer: Thread,
}

impl Scribe {
    pub(super) fn new(
        queue: SyncSender<Handed>,
        shared: Arc<Shared>,
        ended: Receiver<()>,
        birth: Birth,
        writer: Thread,
    ) -> Self {
        Self {
            queue: Some(queue),
            shared,
            ended,
            open: Open::Birth(Box::new(birth)),
            hash: Hash::default(),
            said: Vec::new(),
            lost: 0,
            tried: Timestamp::ZERO,
            writer,
        }
    }

    /// An event is about to be given to the core.
    pub(crate) fn heard(&mut self, event: &Event<'_>, at: Timestamp) {
        self.open = if self.lost > 0 { Open::Lost(at) } else { Open::Step(at, Owned::from(event)) };
    }

    /// The core wants this done. The first to come are those of its birth.
    pub(crate) fn did(&mut self, action: &Action) {
        self.hash.action(action);
        if let Some(said) = Said::of(action) {
            self.said.push(said);
        }
    }

    /// The core wants nothing more. Does nothing if nothing was open.
    pub(crate) fn done(&mut self, node: &Node) {
        let hash = std::mem::take(&mut self.hash).0;
        let said = std::mem::take(&mut self.said);
        let decided = said.iter().any(|said| matches!(said, Said::Decision(_)));
        let (at, handed) = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return,
            Open::Birth(birth) => {
                let at = birth.at;
                (at, Some(Handed::Birth { birth, incarnation: node.incarnation(), hash, said }))
            }
            Open::Step(at, event) => (at, Some(Handed::Step { at, event, hash, said })),
            Open::Lost(at) => (at, None),
        };
        if !handed.is_some_and(|handed| self.hand(handed)) {
            self.lost += 1;
        }
        if decided {
            // Rare enough, and what people will look for: not to be lost with a brain that is killed a moment later.
            self.writer.unpark();
        }
        let wanted = self.lost > 0 || self.shared.wants_state.load(Ordering::Relaxed);
        let room = self.shared.bytes.load(Ordering::Relaxed) < KEPT_BYTES / 2;
        if wanted && room && at.since(self.tried) >= PAUSE {
            self.tried = at;
            self.begin_segment(node, at);
        }
    }

    fn begin_segment(&mut self, node: &Node, at: Timestamp) {
        let (state, lost) = (state(node), self.lost);
        if self.hand(Handed::State { at, incarnation: node.incarnation(), state, lost }) {
            self.lost = 0;
            self.shared.wants_state.store(false, Ordering::Relaxed);
        }
    }

    fn hand(&mut self, handed: Handed) -> bool {
        let size = handed.size();
        if self.shared.bytes.load(Ordering::Relaxed) + size > KEPT_BYTES {
            return false;
        }
        // Counted first: the writer must not take off what is not yet there.
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        let sent = self.queue.as_ref().map(|queue| queue.try_send(handed));
        match sent {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
                false
            }
        }
    }

    /// The writer has given up: nothing more needs to be handed over.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Relaxed)
    }

    /// The end, in good order. Waits until all is written, a short while at most.
    pub(crate) fn finish(mut self, node: &Node) {
        if self.lost == 0 {
            self.hand(Handed::End { state: state(node) });
        }
        self.wait_for_disk(LAST);
    }

    fn wait_for_disk(&mut self, limit: Duration) {
        self.queue = None;
        self.writer.unpark();
        let _ = self.ended.recv_timeout(limit);
    }
}

impl Drop for Scribe {
    /// The core has panicked over an event: that is what somebody will want to see again.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Open::Step(at, event) = std::mem::replace(&mut self.open, Open::Nothing) {
            let said = vec![Said::Panic];
            self.hand(Handed::Step { at, event, hash: 0, said });
            self.wait_for_disk(LAST_OF_PANIC);
        }
    }
}
