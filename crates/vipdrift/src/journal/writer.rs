//! The journal thread: takes what the heartbeat thread has handed over, and writes. It may take its time, and a disk that
//! hangs stops nothing but the journal. A thread of its own and not the slow one, whose pulse the peers are told of.
//!
//! It opens nothing: the keeper has opened the files, and the sandbox would not let it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp as WallTime};
use vipdrift_core::Timestamp;
use vipdrift_platform::{clock, file as at};
use vipdrift_wire::heartbeat::{Keys, resign};

use super::entry::{Entry, KEY, Origin, Said, Segment, Step, Wall, decode, encode, state_hash};
use super::frame::{Frames, LONGEST, Next, OVERHEAD, PREAMBLE, put};
use super::scribe::{Birth, Handed, KEPT, Owned, Scribe, Shared};
use crate::config::{plain, size};
use crate::log::Log;
use crate::writers::Writers;

/// Deep enough for serde, little enough to be locked in memory.
const STACK: usize = 256 * 1024;
/// Pause between two looks into the queue: the heartbeat thread wakes this one for decisions alone. Whoever kills the
/// brain loses no more than this of what came before.
const PAUSE: Duration = Duration::from_millis(20);
/// As much is collected before it is written, in bytes.
const BATCH: usize = 256 * 1024;
/// After a failed write, the next is tried then.
const RETRY: Duration = Duration::from_secs(10);
/// A wall clock that moves by more against the core's is worth an entry.
const JUMP: Duration = Duration::from_millis(50);

/// What the writer is made of.
pub(crate) struct Parts {
    /// The node's files, open for reading and writing.
    pub(crate) files: Vec<File>,
    /// What all of them may take together, in bytes.
    pub(crate) limit: u64,
    pub(crate) cluster: String,
    pub(crate) log: Log,
    /// Told when the disk is waited for.
    pub(crate) writers: Writers,
}

/// Starts the thread, and with it the journal of a life that begins as `birth` says.
///
/// # Errors
/// No thread; then there is no journal.
pub(crate) fn start(parts: Parts, birth: Birth) -> Result<Scribe, String> {
    let (queue, handed) = sync_channel(KEPT);
    let (said, ended) = sync_channel(1);
    let shared = Arc::new(Shared::default());
    let log = parts.log.clone();
    let mut writer =
        Writer::new(parts, Arc::clone(&shared), birth.config.name.clone(), birth.config.keys.clone());
    let body = move || {
        let end = writer.open().and_then(|()| writer.run(&handed));
        if let Err(why) = end {
            writer.shared.over.store(true, Ordering::Relaxed);
            log.warning(format_args!("no journal any more: {why}"));
        }
        let _ = said.try_send(());
    };
    let thread = std::thread::Builder::new().name("journal".into()).stack_size(STACK);
    let thread = thread.spawn(body).map_err(|error| format!("cannot make a thread: {error}"))?;
    Ok(Scribe::new(queue, shared, ended, birth, thread.thread().clone()))
}

/// See the module.
pub(super) struct Writer {
    pub(super) files: Vec<File>,
    /// What one file may take, in bytes.
    limit: u64,
    cluster: String,
    node: String,
    log: Log,
    writers: Writers,
    shared: Arc<Shared>,
    /// What the cluster's datagrams are signed with.
    keys: Keys,
    /// What those of this segment are.
    segment_keys: Keys,
    /// Which file is written, and how much of it is whole.
    current: usize,
    length: u64,
    /// Nothing more goes into it.
    full: bool,
    serial: u64,
    /// What is to be written next, and how many steps are in it.
    batch: Vec<u8>,
    steps: u64,
    /// A decision is in it, or has been written since the disk was last waited for.
    decided: bool,
    /// Steps that came and are not in the file; then it waits for a state.
    lost: u64,
    waiting: bool,
    /// The heartbeat thread has been asked for one.
    asked: bool,
    /// Nothing is tried before.
    pub(super) retry: Option<Timestamp>,
    /// What the wall clock said at boot, as last written.
    boot: WallTime,
}

/// The time now, on the core's clock.
fn now() -> Timestamp {
    Timestamp::ZERO + clock::boot_time()
}

/// What the wall clock said at boot, and says now.
fn wall() -> (WallTime, Wall) {
    let at = now();
    let time = WallTime::now();
    let since = SignedDuration::try_from(at.since(Timestamp::ZERO)).unwrap_or_default();
    let boot = time.checked_sub(since).unwrap_or(WallTime::UNIX_EPOCH);
    (boot, Wall { at, micros: time.as_microsecond() })
}

impl Writer {
    pub(super) fn new(parts: Parts, shared: Arc<Shared>, node: String, keys: Keys) -> Self {
        let Parts { files, limit, cluster, log, writers } = parts;
        Self {
            limit: limit / files.len().max(1) as u64,
            files,
            segment_keys: Keys::new(&cluster, &[], None),
            cluster,
            node,
            log,
            writers,
            shared,
            keys,
            current: 0,
            length: 0,
            full: false,
            serial: 0,
            batch: Vec::new(),
            steps: 0,
            decided: false,
            lost: 0,
            waiting: true,
            asked: false,
            retry: None,
            boot: WallTime::UNIX_EPOCH,
        }
    }

    /// Finds the file that was written last, and the end of its last whole entry. Half an entry behind that is cut off, so
    /// that what comes now can be read. A file that is damaged stays as it is until its turn comes.
    ///
    /// # Errors
    /// The files cannot be read or written at all.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let mut newest: Option<(u64, usize)> = None;
        for (index, file) in self.files.iter().enumerate() {
            let mut head = vec![0; 64 * 1024];
            let length = read_at_most(file, &mut head).map_err(|error| plain(&error))?;
            head.truncate(length);
            if let Some(serial) = first_serial(file, head)
                && newest.is_none_or(|(known, _)| serial > known)
            {
                newest = Some((serial, index));
            }
        }
        let Some((_, index)) = newest else { return Ok(()) };
        let file = &self.files[index];
        let bytes = read_whole(file).map_err(|error| plain(&error))?;
        let (serial, whole) = last_serial(&bytes);
        (self.current, self.serial) = (index, serial + 1);
        match whole {
            Some(whole) => {
                self.length = whole;
                file.set_len(whole).map_err(|error| plain(&error))
            }
            None => {
                self.length = bytes.len() as u64;
                self.full = true;
                Ok(())
            }
        }
    }

    /// Writes until the heartbeat thread has let go of its end.
    ///
    /// # Errors
    /// Why there can be no journal. Disks that fail are tried again, and no error.
    pub(super) fn run(&mut self, handed: &Receiver<Handed>) -> Result<(), String> {
        loop {
            loop {
                match handed.try_recv() {
                    Ok(item) => self.take_one(item)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        self.flush();
                        return Ok(());
                    }
                }
            }
            self.follow_wall_clock();
            self.flush();
            std::thread::park_timeout(PAUSE);
        }
    }

    pub(super) fn take_one(&mut self, handed: Handed) -> Result<(), String> {
        self.shared.bytes.fetch_sub(handed.size(), Ordering::Relaxed);
        self.take(handed)?;
        if self.batch.len() >= BATCH {
            self.flush();
        }
        Ok(())
    }

    /// Puts what was handed over where it belongs.
    ///
    /// # Errors
    /// See [`Writer::run`].
    pub(super) fn take(&mut self, handed: Handed) -> Result<(), String> {
        match handed {
            Handed::Birth { birth, incarnation, hash, said } => {
                let Birth { config, seed, start, at } = *birth;
                let origin = Origin::Birth { config: Box::new(config), seed, start, hash, said };
                self.begin(at, incarnation, origin)?;
            }
            Handed::State { at, incarnation, state, lost } => {
                let lost = lost + std::mem::take(&mut self.lost);
                if lost > 0 {
                    self.log.warning(format_args!("{lost} events are missing in the journal"));
                }
                self.begin(at, incarnation, Origin::State { lost, state: &state })?;
            }
            Handed::Step { .. } if self.waiting => self.lose(),
            Handed::Step { at, mut event, hash, said } => {
                if let Owned::Datagram(_, bytes) = &mut event {
                    resign(bytes, &self.keys, &self.segment_keys);
                }
                self.decided |= said.iter().any(|said| matches!(said, Said::Decision(_)));
                let entry = Entry::Step(Step { at, event: event.borrow(), hash, said });
                if self.add(&entry) {
                    self.steps += 1;
                } else {
                    self.lose();
                }
            }
            Handed::End { .. } if self.waiting => {}
            Handed::End { state } => {
                // Not waited for: it outlives this process where it is.
                self.add(&Entry::End { state: state_hash(&state) });
            }
        }
        Ok(())
    }

    /// A step is not written. What follows can only be written behind a state.
    fn lose(&mut self) {
        self.lost += 1;
        self.waiting = true;
        if self.retry.is_none_or(|at| now() >= at) {
            self.ask_for_state();
        }
    }

    /// Asks the heartbeat thread, once for each segment: the answer may be in the queue behind many steps.
    fn ask_for_state(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            self.shared.wants_state.store(true, Ordering::Relaxed);
        }
    }

    /// Adds an entry to the file at hand; false if there is no room left in it.
    fn add(&mut self, entry: &Entry<'_>) -> bool {
        let payload = encode(entry);
        let length = self.length + (self.batch.len() + OVERHEAD + payload.len()) as u64;
        if length > self.limit / 8 * 7 {
            self.ask_for_state();
        }
        length <= self.limit && put(&mut self.batch, &payload)
    }

    /// Begins a segment: in the file at hand, or in the next if that is nearly full.
    fn begin(&mut self, at: Timestamp, incarnation: u64, origin: Origin<'_>) -> Result<(), String> {
        let mut key = [0; KEY];
        getrandom::fill(&mut key).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let (boot, wall) = wall();
        // The same moment on both clocks, told for when the segment begins.
        let micros = wall.micros - i64::try_from(wall.at.since(at).as_micros()).unwrap_or(0);
        let segment = Segment {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            serial: self.serial,
            incarnation,
            wall: Wall { at, micros },
            key,
            origin,
        };
        self.segment_keys = segment.keys();
        let payload = encode(&Entry::Segment(Box::new(segment)));
        let size = (PREAMBLE.len() + OVERHEAD + payload.len()) as u64;
        if size > self.limit / 2 || payload.len() > LONGEST {
            return Err(format!(
                "journal_limit is too small: {} or more is needed for this configuration",
                size::show(size * 2 * self.files.len() as u64)
            ));
        }
        self.flush();
        self.boot = boot;
        let room = !self.full && self.length + size <= self.limit / 4 * 3;
        if !room || self.length == 0 {
            let next = if self.length == 0 { self.current } else { (self.current + 1) % self.files.len() };
            let old = &self.files[self.current];
            let turned = old.sync_data().and_then(|()| self.files[next].set_len(0));
            if let Err(error) = turned {
                self.fail(&error);
                return Ok(());
            }
            (self.current, self.length, self.full) = (next, 0, false);
            self.batch.extend_from_slice(&PREAMBLE);
        }
        self.serial += 1;
        (self.waiting, self.asked) = (false, false);
        put(&mut self.batch, &payload);
        Ok(())
    }

    fn follow_wall_clock(&mut self) {
        if self.waiting {
            return;
        }
        let (boot, wall) = wall();
        if boot.duration_since(self.boot).unsigned_abs() > JUMP && self.add(&Entry::Wall(wall)) {
            self.boot = boot;
        }
    }

    /// Writes what was collected, and waits for the disk where a decision was among it: that is what people will look for.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let _writing = self.writers.begin();
        let file = &self.files[self.current];
        let mut result = at::write_all_at(file, &self.batch, self.length);
        if result.is_ok() {
            self.length += self.batch.len() as u64;
            if std::mem::take(&mut self.decided) {
                result = file.sync_data();
            }
        } else {
            // Nothing half may be left for others to stumble over.
            let _ = file.set_len(self.length);
        }
        self.batch.clear();
        let steps = std::mem::take(&mut self.steps);
        if self.batch.capacity() > 2 * BATCH {
            self.batch = Vec::new();
        }
        match result {
            Ok(()) => self.retry = None,
            Err(error) => {
                self.lost += steps;
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        (self.waiting, self.asked) = (true, false);
        if self.retry.is_none() {
            self.log.warning(format_args!(
                "the journal cannot be written: {}; trying again every {} s",
                plain(error),
                RETRY.as_secs()
            ));
        }
        self.retry = Some(now() + RETRY);
    }
}

/// Reads from the beginning, as much as there is and fits.
fn read_at_most(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match at::read_at(file, &mut buffer[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = read_at_most(file, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The serial of the segment that a file begins with, if it begins with one. `head` is how it begins.
fn first_serial(file: &File, head: Vec<u8>) -> Option<u64> {
    let serial = |bytes: &[u8]| match Frames::new(bytes).ok()?.next().ok()? {
        Next::Payload(_, payload) => match decode(payload).ok()? {
            Entry::Segment(segment) => Some(segment.serial),
            _ => None,
        },
        Next::Torn(_) | Next::End => None,
    };
    // The state of a node with many groups is long.
    serial(&head).or_else(|| serial(&read_whole(file).ok()?))
}

/// The serial of the last segment in a file, and the end of its last whole entry, unless it is damaged or of another
/// version: what this one writes does not belong behind that.
fn last_serial(bytes: &[u8]) -> (u64, Option<u64>) {
    let mut last = 0;
    let Ok(mut frames) = Frames::new(bytes) else { return (0, None) };
    loop {
        match frames.next() {
            Ok(Next::Payload(_, payload)) => match decode(payload) {
                Ok(Entry::Segment(segment)) => last = segment.serial,
                Ok(_) => {}
                Err(_) => return (last, None),
            },
            Ok(Next::Torn(at)) => return (last, Some(at as u64)),
            Ok(Next::End) => return (last, Some(frames.at() as u64)),
            Err(_) => return (last, None),
        }
    }
}
