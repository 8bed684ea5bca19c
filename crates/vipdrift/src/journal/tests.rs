//! Journals of a node whose peer, keeper and LAN are the test.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vipdrift_core::{
    Action, Command, Drained, Event, GroupIndex, InterfaceIndex, LinkFacts, Node, PathIndex, Start, Ticket,
    Timestamp,
};
use vipdrift_wire::Mac;
use vipdrift_wire::heartbeat::{Keys, resign};

use super::entry::{Entry, Said, decode, encode, state};
use super::frame::{Frames, LONGEST, Next, PREAMBLE, put};
use super::replay::{Item, Outcome, Unread, journals, replay};
use super::scribe::{Handed, KEPT, Shared};
use super::writer::Writer;
use super::{Birth, FILES, Parts, Scribe, files};
use crate::config::{self, Resolved};
use crate::log::Log;
use crate::writers::Writers;

const CONFIG: &str = r#"
[cluster]
name = "edge"
key = "000102030405060708090a0b0c0d0e0f"
heartbeat = "10ms"

[[node]]
name = "alpha"
addresses = ["192.0.2.11"]

[[node]]
name = "bravo"
addresses = ["192.0.2.12"]

[[group]]
name = "web"
interface = "eth0"
vips = ["192.0.2.100/24", "2001:db8::100/64"]
"#;

fn keys() -> Keys {
    Keys::new("edge", &(0..16).collect::<Vec<u8>>(), None)
}

fn birth(name: &str, seed: u64, start: Start, at: Timestamp) -> Birth {
    let config = config::parse("vipdrift.toml", CONFIG).expect("a good configuration");
    let resolved = Resolved::new(&config, name).expect("a node");
    Birth { config: resolved.node_config(keys(), Duration::ZERO), seed, start, at }
}

fn facts(last: u8) -> LinkFacts {
    LinkFacts {
        present: true,
        running: true,
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        addresses: vec![format!("192.0.2.{last}/24").parse().expect("a network")],
        gateways: vec![],
    }
}

/// What an event leads to; the events that follow from it by themselves are in `next`.
fn mounted(action: &Action, next: &mut Vec<Event<'static>>) {
    if let Action::Apply { plan, desired } = action {
        let mounted = desired.iter().copied().collect();
        next.push(Event::Applied { plan: *plan, mounted, failed: vec![], complete: true });
    }
}

/// Two nodes that hear each other; the first keeps a journal.
struct Pair {
    now: Timestamp,
    alpha: Node,
    bravo: Option<Node>,
    scribe: Option<Scribe>,
    queue: Receiver<Handed>,
    writer: Option<Writer>,
    decisions: u64,
}

fn open(folder: &Path) -> Vec<File> {
    let open = |path| File::options().read(true).write(true).create(true).truncate(false).open(path);
    files(folder, "alpha").into_iter().map(|path| open(path).expect("opens")).collect()
}

fn writer(folder: &Path, shared: &Arc<Shared>) -> Writer {
    let log = Log::start("edge", "alpha").expect("a thread");
    let parts = Parts {
        files: open(folder),
        limit: 4 << 20,
        cluster: "edge".into(),
        log,
        writers: Writers::default(),
    };
    let mut writer = Writer::new(parts, Arc::clone(shared), "alpha".into(), keys());
    writer.open().expect("files that can be read");
    writer
}

impl Pair {
    fn new(folder: Option<&Path>, seed: u64) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000 + seed * 1_000_000);
        let fresh = || Start::Fresh { drained: Drained::default() };
        let born = birth("alpha", seed, fresh(), now);
        let alpha = Node::new(born.config.clone(), seed, fresh(), now);
        let other = birth("bravo", seed + 1, fresh(), now);
        let mut bravo = Node::new(other.config, other.seed, fresh(), now);
        while bravo.poll_action().is_some() {}
        let shared = Arc::new(Shared::default());
        let (sender, queue) = sync_channel(KEPT);
        let (_, ended) = sync_channel(1);
        let scribe =
            folder.map(|_| Scribe::new(sender, Arc::clone(&shared), ended, born, std::thread::current()));
        let writer = folder.map(|folder| writer(folder, &shared));
        let mut pair = Self { now, alpha, bravo: Some(bravo), scribe, queue, writer, decisions: 0 };
        pair.finish_step();
        pair.link(true);
        let link = Event::Link { interface: InterfaceIndex(0), facts: facts(12) };
        pair.give_bravo(link);
        pair
    }

    fn link(&mut self, running: bool) {
        let facts = LinkFacts { running, ..facts(11) };
        self.give(Event::Link { interface: InterfaceIndex(0), facts });
    }

    fn give(&mut self, event: Event<'_>) {
        if let Some(scribe) = &mut self.scribe {
            scribe.heard(&event, self.now);
        }
        self.alpha.handle(event, self.now);
        self.finish_step();
    }

    fn finish_step(&mut self) {
        let (mut next, mut datagrams) = (Vec::new(), Vec::new());
        while let Some(action) = self.alpha.poll_action() {
            if let Some(scribe) = &mut self.scribe {
                scribe.did(&action);
            }
            self.decisions += u64::from(matches!(action, Action::Record(_)));
            mounted(&action, &mut next);
            if let Action::SendDatagram { bytes, .. } = action {
                datagrams.push(bytes);
            }
        }
        if let Some(scribe) = &mut self.scribe {
            scribe.done(&self.alpha);
        }
        for bytes in datagrams {
            self.give_bravo(Event::Datagram { path: Some(PathIndex(0)), bytes: &bytes });
        }
        next.into_iter().for_each(|event| self.give(event));
    }

    fn give_bravo(&mut self, event: Event<'_>) {
        let Some(bravo) = &mut self.bravo else { return };
        bravo.handle(event, self.now);
        let (mut next, mut datagrams) = (Vec::new(), Vec::new());
        while let Some(action) = bravo.poll_action() {
            mounted(&action, &mut next);
            if let Action::SendDatagram { bytes, .. } = action {
                datagrams.push(bytes);
            }
        }
        for bytes in datagrams {
            self.give(Event::Datagram { path: Some(PathIndex(0)), bytes: &bytes });
        }
        next.into_iter().for_each(|event| self.give_bravo(event));
    }

    /// Lets time pass; the writer takes what there is, if it is to.
    fn pass(&mut self, span: Duration, write: bool) {
        let end = self.now + span;
        loop {
            let alpha = self.alpha.next_deadline().map(|deadline| deadline.at);
            let bravo = self.bravo.as_ref().and_then(Node::next_deadline).map(|deadline| deadline.at);
            let Some(next) = alpha.into_iter().chain(bravo).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if alpha == Some(next) {
                self.give(Event::Timeout);
            } else {
                self.give_bravo(Event::Timeout);
            }
            if write {
                self.write();
            }
        }
        self.now = end;
    }

    fn write(&mut self) {
        if let Some(writer) = &mut self.writer {
            self.queue.try_iter().for_each(|handed| writer.take_one(handed).expect("takes"));
            writer.flush();
        }
    }

    /// Datagrams that must be rejected, each for another reason.
    fn bad_datagrams(&mut self) {
        let bravo = self.bravo.as_mut().expect("bravo lives");
        bravo.handle(Event::Timeout, self.now + Duration::from_millis(10));
        let sent: Vec<_> = std::iter::from_fn(|| bravo.poll_action()).collect();
        let good = sent.into_iter().find_map(|action| match action {
            Action::SendDatagram { bytes, .. } => Some(bytes),
            _ => None,
        });
        let good = good.expect("a heartbeat");
        let path = Some(PathIndex(0));
        let mut forged = good.clone();
        resign(&mut forged, &keys(), &Keys::new("edge", b"another secret..", None));
        let mut foreign = good.clone();
        foreign[6] ^= 1;
        self.give(Event::Datagram { path, bytes: &good });
        for bytes in [&good[..], &good[..20], &forged, &foreign, b"hello", &[7; 1401]] {
            self.give(Event::Datagram { path, bytes });
        }
        self.give(Event::Datagram { path: None, bytes: &good });
        self.pass(Duration::from_millis(30), true);
        self.give(Event::Datagram { path, bytes: &good });
    }

    fn end(mut self) -> u64 {
        if let Some(scribe) = self.scribe.take() {
            scribe.finish(&self.alpha);
        }
        self.write();
        self.decisions
    }
}

/// Everything that a replay tells.
fn told(path: &Path) -> (Outcome, Vec<Item>, Result<(), Unread>) {
    let journals = journals(path).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(journals.len(), 1);
    let (mut outcome, mut items) = (Outcome::default(), Vec::new());
    let end = replay(&journals[0], &mut outcome, &mut |_, item| items.push(item));
    (outcome, items, end)
}

/// Replays without a flaw.
fn same(path: &Path) -> Outcome {
    let (outcome, _, end) = told(path);
    end.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(outcome.difference, None);
    assert_eq!(outcome.same, outcome.decisions);
    outcome
}

/// A short and eventful life.
fn eventful(folder: &Path) -> u64 {
    let mut pair = Pair::new(Some(folder), 1);
    pair.pass(Duration::from_secs(4), true);
    pair.bad_datagrams();
    pair.give(Event::Command(Command::Switchover { ticket: Ticket(1), group: GroupIndex(0), to: None }));
    pair.pass(Duration::from_secs(1), true);
    pair.bravo = None;
    pair.pass(Duration::from_secs(5), true);
    pair.link(false);
    pair.pass(Duration::from_millis(100), true);
    pair.end()
}

#[test]
fn a_replay_decides_the_same_and_counts_the_same() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let decisions = eventful(folder.path());
    assert!(decisions >= 4, "{decisions}");
    let outcome = same(folder.path());
    assert_eq!((outcome.decisions, outcome.lost, outcome.notes.len()), (decisions, 0, 0));
    let (_, items, _) = told(folder.path());
    let reason = items.iter().find_map(|item| match item {
        Item::Decision { to: "active", reason, term: 3, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("bravo silent, 192.0.2.100 not answered"));
}

/// The end of a journal tells the state of the core, counters of rejections included.
#[test]
fn rejections_are_counted_for_the_same_reasons() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    pair.pass(Duration::from_secs(4), true);
    pair.bad_datagrams();
    let rejected = pair.alpha.snapshot().counters.datagrams_rejected;
    let reasons: Vec<_> = rejected.iter().filter(|(_, count)| *count > 0).map(|(name, _)| *name).collect();
    for reason in ["bad_mac", "foreign_cluster", "replayed", "too_long", "too_short", "unknown_sender"] {
        assert!(reasons.contains(&reason), "{reason} of {reasons:?}");
    }
    pair.end();
    same(folder.path());
    // And it would be noticed: one forged datagram less.
    let file = folder.path().join("alpha-1.journal");
    let mut skipped = false;
    let less = rewrite(&file, |entry| {
        let forged = matches!(entry, Entry::Step(step) if matches!(step.event, Event::Datagram { bytes: b"hello", .. }));
        skipped |= forged;
        !forged
    });
    assert!(skipped);
    std::fs::write(&file, less).expect("writes");
    let difference = told(folder.path()).0.difference.expect("a difference");
    assert_eq!(difference.event, "the end");
}

/// The file once more, with entries changed or left out.
fn rewrite(file: &Path, mut keep: impl FnMut(&mut Entry<'_>) -> bool) -> Vec<u8> {
    let bytes = std::fs::read(file).expect("reads");
    let mut frames = Frames::new(&bytes).expect("a journal");
    let mut out = PREAMBLE.to_vec();
    while let Ok(Next::Payload(_, payload)) = frames.next() {
        let mut entry = decode(payload).expect("an entry");
        if keep(&mut entry) {
            assert!(put(&mut out, &encode(&entry)));
        }
    }
    out
}

#[test]
fn an_altered_decision_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("temporary folder");
    eventful(folder.path());
    let file = folder.path().join("alpha-1.journal");
    let untouched = std::fs::read(&file).expect("reads");
    assert_eq!(rewrite(&file, |_| true), untouched, "rewritten as it was");
    let altered = rewrite(&file, |entry| {
        if let Entry::Step(step) = entry {
            for said in &mut step.said {
                if let Said::Decision(decision) = said
                    && decision.term == 3
                {
                    decision.reason = "because".into();
                }
            }
        }
        true
    });
    std::fs::write(&file, altered).expect("writes");
    let outcome = told(folder.path()).0;
    assert!(outcome.same < outcome.decisions, "{outcome:?}");
    let difference = outcome.difference.expect("a difference");
    assert!(difference.recorded.iter().any(|line| line.contains("term 3: because (")), "{difference:?}");
    assert!(difference.replayed.iter().any(|line| line.contains("bravo silent")), "{difference:?}");
    assert!(difference.offset > PREAMBLE.len() && difference.file == file, "{difference:?}");
}

#[test]
fn an_altered_event_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("temporary folder");
    eventful(folder.path());
    let file = folder.path().join("alpha-1.journal");
    let altered = rewrite(&file, |entry| {
        if let Entry::Step(step) = entry
            && let Event::Link { facts, .. } = &mut step.event
        {
            facts.running = true;
        }
        true
    });
    std::fs::write(&file, altered).expect("writes");
    let outcome = told(folder.path()).0;
    assert_eq!(outcome.same + 1, outcome.decisions, "the last decision was about the link");
    let difference = outcome.difference.expect("a difference");
    assert!(difference.event.starts_with("eth0: running"), "{difference:?}");
    assert!(difference.recorded.iter().any(|line| line.contains("eth0 has no carrier")), "{difference:?}");
    assert!(difference.replayed.is_empty(), "{difference:?}");
}

fn sizes(folder: &TempDir) -> Vec<u64> {
    let size = |path: std::path::PathBuf| path.metadata().expect("a file").len();
    files(folder.path(), "alpha").into_iter().map(size).collect()
}

#[test]
fn files_are_written_round_and_round_within_the_limit() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    let mut turns = 0;
    let mut before = sizes(&folder);
    let mut decisions = 0;
    while turns < FILES + 2 {
        pair.pass(Duration::from_secs(5), true);
        // Nothing of the cluster's: it fills the files sooner.
        for number in 0..200 {
            pair.give(Event::Datagram { path: None, bytes: &[7; 1400] });
            if number % 20 == 0 {
                pair.write();
            }
        }
        decisions += 1;
        let ticket = Ticket(decisions);
        pair.give(Event::Command(Command::Switchover { ticket, group: GroupIndex(0), to: None }));
        let now = sizes(&folder);
        turns += now.iter().zip(&before).filter(|(now, before)| now < before).count();
        assert!(now.iter().all(|size| *size <= 1 << 20), "{now:?}");
        before = now;
    }
    pair.end();
    let total: u64 = sizes(&folder).iter().sum();
    assert!(total > 2 << 20, "most of the limit is used: {total}");
    let outcome = same(folder.path());
    assert_eq!((outcome.segments, outcome.lost), (FILES as u64, 0), "each file begins with a segment");
    assert!(outcome.decisions > 5, "{outcome:?}");
    // Every file can be replayed alone.
    for file in files(folder.path(), "alpha") {
        assert_eq!(same(&file).segments, 1);
    }
}

#[test]
fn a_torn_end_is_told_and_the_next_life_goes_on_behind_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    eventful(folder.path());
    let file = folder.path().join("alpha-1.journal");
    let whole = std::fs::read(&file).expect("reads");
    let all = same(folder.path());
    for cut in 1..200 {
        std::fs::write(&file, &whole[..whole.len() - cut]).expect("writes");
        let outcome = same(folder.path());
        assert!(outcome.events <= all.events && outcome.events + 40 > all.events, "{outcome:?}");
        assert!(outcome.notes.iter().all(|note| note.contains("is not whole")), "{:?}", outcome.notes);
    }
    let torn = same(folder.path());
    assert_eq!(torn.notes.len(), 1, "{:?}", torn.notes);
    let mut pair = Pair::new(Some(folder.path()), 99);
    pair.pass(Duration::from_secs(4), true);
    let decisions = pair.end();
    let outcome = same(folder.path());
    assert_eq!((outcome.segments, outcome.notes.len()), (2, 0), "{:?}", outcome.notes);
    assert_eq!(outcome.decisions, torn.decisions + decisions);
    assert_eq!(sizes(&folder)[1..], [0, 0, 0], "one file is enough for both");
}

#[test]
fn a_damaged_file_is_an_error_with_its_place_and_is_not_written_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    eventful(folder.path());
    let file = folder.path().join("alpha-1.journal");
    let mut bytes = std::fs::read(&file).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, &bytes).expect("writes");
    let why = told(folder.path()).2.expect_err("damaged").to_string();
    let place = why.strip_prefix(&format!("{}: byte ", file.display())).expect("its place");
    let offset: usize = place.split(':').next().and_then(|offset| offset.parse().ok()).expect("a number");
    assert!(offset <= middle && middle < offset + 2000, "{why}");
    let mut pair = Pair::new(Some(folder.path()), 99);
    pair.pass(Duration::from_secs(1), true);
    pair.end();
    assert_eq!(std::fs::read(&file).expect("reads"), bytes, "kept for whoever can make something of it");
    same(&folder.path().join("alpha-2.journal"));
}

#[test]
fn a_full_queue_leaves_a_gap_that_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    pair.pass(Duration::from_secs(4), true);
    // The disk hangs.
    for _ in 0..KEPT + 1000 {
        pair.give(Event::Datagram { path: None, bytes: b"hello" });
    }
    pair.pass(Duration::from_secs(1), false);
    // And goes on.
    pair.write();
    pair.pass(Duration::from_secs(1), true);
    let decisions = pair.end();
    let outcome = same(folder.path());
    assert!(outcome.lost > 1000, "{outcome:?}");
    assert_eq!(outcome.segments, 2);
    assert_eq!(outcome.decisions, decisions, "nothing was decided in the gap");
    let (_, items, _) = told(folder.path());
    let text = format!("{} events are missing here; the state of the core after them is there", outcome.lost);
    assert!(items.contains(&Item::Segment { text }));
}

#[test]
fn an_event_over_which_the_core_panics_is_kept_and_replayed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    pair.pass(Duration::from_secs(4), true);
    let (_, other) = sync_channel(1);
    let queue = std::mem::replace(&mut pair.queue, other);
    let mut writer = pair.writer.take().expect("a writer");
    let frame = vipdrift_wire::arp::probe(Mac([2, 0, 0, 0, 0, 9]), [192, 0, 2, 100].into());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        // No driver would say this.
        pair.give(Event::Frame { interface: InterfaceIndex(9), bytes: &frame });
    }));
    assert!(panicked.is_err());
    queue.try_iter().for_each(|handed| writer.take_one(handed).expect("takes"));
    writer.flush();
    same(folder.path());
    let (_, items, _) = told(folder.path());
    let text = "the core panics: this is an error in vipdrift".to_owned();
    assert_eq!(items.last(), Some(&Item::Said { text }));
}

#[test]
fn a_disk_that_fails_is_tried_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    pair.pass(Duration::from_secs(4), true);
    let good = open(folder.path());
    let broken: Vec<_> = files(folder.path(), "alpha").iter().map(File::open).collect();
    let broken = broken.into_iter().map(|file| file.expect("opens for reading")).collect();
    pair.writer.as_mut().expect("a writer").files = broken;
    pair.pass(Duration::from_secs(1), true);
    let writer = pair.writer.as_mut().expect("a writer");
    assert!(writer.retry.is_some(), "it has noticed");
    writer.files = good;
    pair.pass(Duration::from_secs(1), true);
    assert_eq!(same(folder.path()).segments, 1, "too soon");
    pair.writer.as_mut().expect("a writer").retry = Some(Timestamp::ZERO);
    pair.pass(Duration::from_secs(2), true);
    pair.end();
    let outcome = same(folder.path());
    assert_eq!(outcome.segments, 2);
    assert!(outcome.lost > 100, "{outcome:?}");
}

#[test]
fn a_forged_flood_of_long_datagrams_is_bounded_in_memory() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut pair = Pair::new(Some(folder.path()), 1);
    let begun = Instant::now();
    for _ in 0..KEPT {
        pair.give(Event::Datagram { path: None, bytes: &[7; 1400] });
    }
    println!("{:?} for each", begun.elapsed() / u32::try_from(KEPT).expect("a number"));
    let queued: usize = pair.queue.try_iter().map(|handed| handed.size()).sum();
    assert!(queued <= 4 << 20, "{queued}");
}

/// What is done on the heartbeat thread when a file is full, where a node has many groups.
#[test]
fn the_state_of_a_node_with_many_groups_fits() {
    let (head, _) = CONFIG.split_once("[[group]]").expect("groups");
    let mut text = head.to_owned();
    for number in 0..1000 {
        let vip = format!("10.{}.{}.1/24", number / 250, number % 250);
        text += &format!("[[group]]\nname = \"g{number}\"\ninterface = \"eth0\"\nvips = [\"{vip}\"]\n");
    }
    let config = config::parse("vipdrift.toml", &text).expect("a good configuration");
    let config = Resolved::new(&config, "alpha").expect("a node").node_config(keys(), Duration::ZERO);
    let now = Timestamp::from_nanos(1_000_000_000);
    let mut node = Node::new(config, 1, Start::Fresh { drained: Drained::default() }, now);
    while node.poll_action().is_some() {}
    let begun = Instant::now();
    let bytes = state(&node);
    println!("1000 groups: {} bytes in {:?}", bytes.len(), begun.elapsed());
    assert!(bytes.len() < LONGEST / 4, "{}", bytes.len());
}

/// Mean times of an event on the heartbeat thread, with a journal and without. Run it in a release build for figures.
#[test]
fn what_it_costs_the_heartbeat_thread() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cost = |folder: Option<&Path>| {
        let (mut least, mut entries) = (Duration::MAX, 0);
        for seed in 0..5 {
            let mut pair = Pair::new(folder, 1000 + seed);
            pair.pass(Duration::from_secs(4), true);
            let mut spent = Duration::ZERO;
            let rounds = 200;
            let mut steps = 0;
            for _ in 0..rounds {
                let begun = Instant::now();
                pair.pass(Duration::from_millis(50), false);
                spent += begun.elapsed();
                steps += pair.queue.try_iter().count();
            }
            entries = steps;
            least = least.min(spent / rounds);
        }
        (least, entries)
    };
    let ((off, _), (on, entries)) = (cost(None), cost(Some(folder.path())));
    println!(
        "50 ms of two nodes at 10 ms: {off:?} without, {on:?} with a journal; {entries} entries in 10 s"
    );
    assert!(on < off * 3, "{on:?} with a journal, {off:?} without");
}
