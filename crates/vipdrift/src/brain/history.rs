//! What this node has decided and noticed: the last of it in memory, more of it on the disk, over restarts.
//!
//! Two files take turns: when one is full, the other is emptied and goes on. A thread of its own writes, so that a disk that
//! hangs keeps nobody but itself; what cannot be written meanwhile is in memory all the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::timeout;
use vipdrift_control::{Event, EventKind, EventsRequest};
use vipdrift_core::{Decision, Note};

use crate::config::plain;
use crate::journal::replay::role;
use crate::log::Log;
use crate::writers::{Writers, Writing};

/// Events in memory.
const KEPT: usize = 2000;
/// A file is full when it is longer than this, in bytes.
const FULL: u64 = 1 << 20;
/// Events that wait for the slow thread, or for the disk; more are left out.
pub(super) const WAITING: usize = 1000;
/// The longest wait for an event.
const LONGEST: Duration = Duration::from_secs(30);
/// Evidence of one event, in lines.
const LINES: usize = 40;

/// Something that has happened, on its way here.
#[derive(Debug)]
pub(super) struct News {
    at: jiff::Timestamp,
    event: Event,
    /// It counts as one that is to be written.
    writing: Option<Writing>,
}

impl News {
    /// A decision about a group of this name.
    pub(super) fn decision(group: &str, decision: &Decision, evidence: Vec<String>) -> Self {
        let mut evidence = evidence;
        evidence.truncate(LINES);
        Self::new(Event {
            group: Some(group.to_owned()),
            from: Some(role(decision.from).to_owned()),
            to: Some(role(decision.to).to_owned()),
            term: Some(decision.term),
            reason: decision.reason.clone(),
            evidence,
            cause: decision.takeover.map(|takeover| takeover.cause.word().to_owned()),
            outage_us: decision
                .takeover
                .and_then(|takeover| takeover.outage)
                .map(|outage| u64::try_from(outage.as_micros()).unwrap_or(u64::MAX)),
            ..blank(EventKind::Decision)
        })
    }

    /// Anything else. One about a group begins with its name.
    pub(super) fn note(note: &Note, groups: &[vipdrift_core::GroupConfig]) -> Self {
        let about = note.text.split_once(": ").and_then(|(name, rest)| {
            groups.iter().any(|group| group.name == name).then(|| (name.to_owned(), rest.to_owned()))
        });
        let kind = if note.warning { EventKind::Warning } else { EventKind::Note };
        let (group, reason) = match about {
            Some((group, rest)) => (Some(group), rest),
            None => (None, note.text.clone()),
        };
        Self::new(Event { group, reason, ..blank(kind) })
    }

    /// The group that it is about.
    pub(super) fn group(&self) -> Option<&str> {
        self.event.group.as_deref()
    }

    fn new(event: Event) -> Self {
        Self { at: jiff::Timestamp::now(), event, writing: None }
    }

    /// From here on it is waited for before this process ends.
    pub(super) fn counted(self, writers: &Writers) -> Self {
        Self { writing: Some(writers.begin()), ..self }
    }
}

fn blank(kind: EventKind) -> Event {
    Event {
        seq: 0,
        at: String::new(),
        kind,
        group: None,
        from: None,
        to: None,
        term: None,
        reason: String::new(),
        evidence: Vec::new(),
        cause: None,
        outage_us: None,
    }
}

/// See the module.
pub(super) struct History {
    past: Arc<Past>,
    disk: Option<SyncSender<(Event, Option<Writing>)>>,
}

/// What is in memory.
#[derive(Default)]
struct Past {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    /// What earlier lives have left is among them; until then nothing has its number.
    recalled: bool,
}

impl History {
    /// Reads what the files hold, on a thread of its own, and goes on behind it.
    pub(super) fn open(files: Vec<File>, writers: &Writers, log: &Log) -> Self {
        let past = Arc::new(Past::default());
        let disk = match <[File; 2]>::try_from(files) {
            Ok(files) => start(files, Arc::clone(&past), writers.begin(), log),
            Err(_) => None,
        };
        if disk.is_none() {
            past.lock().recalled = true;
        }
        Self { past, disk }
    }

    pub(super) fn add(&self, news: News) {
        let News { at, mut event, writing } = news;
        event.at = at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let numbered = self.past.lock().push(event);
        if let (Some(disk), Some(event)) = (&self.disk, numbered) {
            let _ = disk.try_send((event, writing));
        }
        self.past.news.notify_waiters();
    }

    /// Ends when something has happened.
    pub(super) fn news(&self) -> Notified<'_> {
        self.past.news.notified()
    }

    /// What is wanted, after the wait that is wanted.
    pub(super) async fn select(&self, request: &EventsRequest) -> Vec<Event> {
        let wait = Duration::from_millis(request.wait_ms.unwrap_or(0)).min(LONGEST);
        let look = async {
            loop {
                let told = self.past.news.notified();
                tokio::pin!(told);
                // From here on nothing is missed.
                told.as_mut().enable();
                let found = self.found(request);
                if !found.is_empty() {
                    return found;
                }
                told.await;
            }
        };
        timeout(wait, look).await.unwrap_or_else(|_| self.found(request))
    }

    fn found(&self, request: &EventsRequest) -> Vec<Event> {
        let kept = self.past.lock();
        if !kept.recalled {
            return Vec::new();
        }
        let wanted = |event: &&Event| {
            request.after.is_none_or(|after| event.seq > after)
                && request.group.as_ref().is_none_or(|group| event.group.as_ref() == Some(group))
        };
        let mut found: Vec<Event> =
            kept.events.iter().rev().filter(wanted).take(request.limit.unwrap_or(KEPT)).cloned().collect();
        found.reverse();
        found
    }
}

impl Past {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What earlier lives have left goes before what has happened since. Answers the latter, with its numbers.
    fn recall(&self, earlier: VecDeque<Event>) -> Vec<Event> {
        let mut kept = self.lock();
        let since = std::mem::replace(&mut kept.events, earlier);
        kept.recalled = true;
        let since = since.into_iter().filter_map(|event| kept.push(event)).collect();
        drop(kept);
        self.news.notify_waiters();
        since
    }
}

impl Kept {
    /// Keeps an event, and answers it with its number, if it can have one yet.
    fn push(&mut self, mut event: Event) -> Option<Event> {
        if self.recalled {
            event.seq = self.events.back().map_or(1, |last| last.seq + 1);
        }
        if self.events.len() >= KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event.clone());
        self.recalled.then_some(event)
    }
}

/// Which file is written, and how long it is.
struct Writer {
    files: [File; 2],
    current: usize,
    length: u64,
}

fn recall(mut files: [File; 2]) -> io::Result<(VecDeque<Event>, Writer)> {
    let mut events = VecDeque::new();
    let mut lasts = [(0, 0); 2];
    for (file, last) in files.iter_mut().zip(&mut lasts) {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(FULL * 2).read_to_end(&mut bytes)?;
        // A line that is not whole was being written when the machine died: the next goes in its place.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        let read = lines.filter_map(|line| serde_json::from_slice::<Event>(line).ok());
        let read: Vec<Event> = read.collect();
        *last = (read.iter().map(|event| event.seq).max().unwrap_or(0), whole as u64);
        events.extend(read);
    }
    events.make_contiguous().sort_by_key(|event| event.seq);
    while events.len() > KEPT {
        events.pop_front();
    }
    let current = usize::from(lasts[1].0 > lasts[0].0);
    Ok((events, Writer { files, current, length: lasts[current].1 }))
}

fn start(
    files: [File; 2],
    past: Arc<Past>,
    writing: Writing,
    log: &Log,
) -> Option<SyncSender<(Event, Option<Writing>)>> {
    let (send, events) = sync_channel(WAITING);
    let told = log.clone();
    let thread = std::thread::Builder::new().name("events".into()).stack_size(256 * 1024);
    let started = thread.spawn(move || keep(files, &past, &events, writing, &told));
    started.map_err(|error| log.warning(format_args!("no events will be kept: {error}"))).ok().map(|_| send)
}

fn keep(
    files: [File; 2],
    past: &Past,
    events: &Receiver<(Event, Option<Writing>)>,
    writing: Writing,
    log: &Log,
) {
    let (earlier, mut writer) = match recall(files) {
        Ok(recalled) => recalled,
        Err(error) => {
            let why = plain(&error);
            log.warning(format_args!("events of earlier lives cannot be read, and none will be kept: {why}"));
            past.recall(VecDeque::new());
            return;
        }
    };
    let mut failed = false;
    // What has happened since counts as one piece.
    let mut since: Vec<_> = past.recall(earlier).into_iter().map(|event| (event, None)).collect();
    match since.last_mut() {
        Some((_, last)) => *last = Some(writing),
        None => drop(writing),
    }
    for (event, _writing) in since.into_iter().chain(events) {
        match writer.write(&event) {
            Ok(()) => failed = false,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let why = plain(&error);
                    log.warning(format_args!("events cannot be kept over a restart: {why}; trying on"));
                }
            }
        }
    }
}

impl Writer {
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.length + line.len() as u64 > FULL {
            self.current = 1 - self.current;
            self.length = 0;
        }
        let file = &mut self.files[self.current];
        // Also cuts off what was not whole.
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(&line)?;
        self.length += line.len() as u64;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use vipdrift_core::{Cause, Takeover};

    use super::*;

    fn files(folder: &std::path::Path) -> Vec<File> {
        let open = |name| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join(name))
                .unwrap()
        };
        vec![open("events.1"), open("events.2")]
    }

    fn note(text: &str) -> News {
        News::note(&Note { warning: false, text: text.to_owned() }, &[])
    }

    #[test]
    fn what_happens_while_the_past_is_read_comes_after_it() {
        let history = History { past: Arc::new(Past::default()), disk: None };
        history.add(note("since"));
        assert_eq!(history.found(&EventsRequest::default()), [], "nothing has its number yet");
        let earlier = Event { seq: 7, ..note("earlier").event };
        let since = history.past.recall(VecDeque::from([earlier]));
        assert_eq!(since.iter().map(|event| event.seq).collect::<Vec<_>>(), [8], "to be written");
        history.add(note("later"));
        assert_eq!(all(&history.past.lock().events), [(7, "earlier"), (8, "since"), (9, "later")]);
    }

    fn all(events: &VecDeque<Event>) -> Vec<(u64, &str)> {
        events.iter().map(|event| (event.seq, event.reason.as_str())).collect()
    }

    #[test]
    fn numbers_go_on_over_a_restart_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        for life in 0..3 {
            let (mut events, mut writer) = recall(files(folder.path()).try_into().unwrap()).unwrap();
            assert_eq!(events.len(), life, "{events:?}");
            let mut event = note(&format!("life {life}")).event;
            event.seq = events.back().map_or(1, |last| last.seq + 1);
            writer.write(&event).unwrap();
            events.push_back(event);
            let torn = File::options().append(true).open(folder.path().join("events.1")).unwrap();
            io::Write::write_all(&mut &torn, b"{\"seq\":9,").unwrap();
        }
        let (events, _) = recall(files(folder.path()).try_into().unwrap()).unwrap();
        assert_eq!(all(&events), [(1, "life 0"), (2, "life 1"), (3, "life 2")]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_reaches_back_at_least_half() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut writer) = recall(files(folder.path()).try_into().unwrap()).unwrap();
        let text = "x".repeat(10_000);
        for seq in 1..=400 {
            writer.write(&Event { seq, ..note(&text).event }).unwrap();
        }
        let sizes: u64 = files(folder.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(sizes <= 2 * FULL, "{sizes}");
        let (events, writer) = recall(files(folder.path()).try_into().unwrap()).unwrap();
        assert_eq!(events.back().unwrap().seq, 400);
        assert!(events.len() >= 100, "{}", events.len());
        assert!(events.iter().zip(events.iter().skip(1)).all(|(one, next)| one.seq + 1 == next.seq));
        assert!(writer.length > 0);
    }

    #[tokio::test]
    async fn what_is_wanted_is_found_and_waited_for() {
        let log = Log::start("edge", "alpha").unwrap();
        let history = std::sync::Arc::new(History::open(Vec::new(), &Writers::default(), &log));
        let decision = Decision {
            group: vipdrift_core::GroupIndex(0),
            from: vipdrift_core::RoleName::Standby,
            to: vipdrift_core::RoleName::Active,
            term: 3,
            reason: "nobody holds it".into(),
            evidence: vec![],
            takeover: Some(Takeover { cause: Cause::Silent, outage: Some(Duration::from_micros(11_300)) }),
        };
        history.add(note("one"));
        history.add(News::decision("web", &decision, vec!["asked".into()]));
        history.add(note("three"));
        let of = |request: EventsRequest| {
            let history = std::sync::Arc::clone(&history);
            async move { history.select(&request).await.into_iter().map(|event| event.seq).collect::<Vec<_>>() }
        };
        assert_eq!(of(EventsRequest::default()).await, [1, 2, 3]);
        assert_eq!(of(EventsRequest { group: Some("web".into()), ..EventsRequest::default() }).await, [2]);
        assert_eq!(of(EventsRequest { limit: Some(2), ..EventsRequest::default() }).await, [2, 3]);
        let waits = EventsRequest { after: Some(3), wait_ms: Some(20_000), ..EventsRequest::default() };
        let (found, ()) = tokio::join!(of(waits), async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            history.add(note("four"));
        });
        assert_eq!(found, [4]);
        let none = EventsRequest { after: Some(4), wait_ms: Some(30), ..EventsRequest::default() };
        assert_eq!(of(none).await, Vec::<u64>::new());
    }
}
