//! One short line for everything worth knowing: to standard error, or where that is systemd's journal, to the journal with
//! fields to search by. A thread of its own writes, so that a reader that has stopped reading stops nothing else.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use vipdrift_core::Decision;
use vipdrift_platform::journal::{self, Journal};

use crate::journal::replay::role;

/// Lines kept for a reader that is slow; what comes beyond is dropped and counted.
const KEPT: usize = 4096;
/// What marks changes of role in the journal (systemd.journal-fields(7), `MESSAGE_ID=`). Never changes.
const ROLE_CHANGED: &str = "46bec946d6aa436aa6c9f6f8f2467f8c";

/// How much a line matters: numbers of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    Warning = 4,
    /// Nothing is wrong, but people will want to know.
    Notice = 5,
    Info = 6,
}

/// A line and what the journal is told besides it.
#[derive(Debug)]
struct Line {
    at: jiff::Timestamp,
    priority: Priority,
    text: String,
    fields: Vec<(&'static str, String)>,
}

/// What the writing thread is given.
#[derive(Debug)]
enum Entry {
    Line(Line),
    /// Everything before this is written: say so.
    Mark(SyncSender<()>),
}

/// Takes lines from any thread and never waits.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writing thread. Call it before this thread gets real-time priority. The journal is told cluster and node with
    /// every line.
    ///
    /// # Errors
    /// If no thread can be made.
    pub(crate) fn start(cluster: &str, node: &str) -> std::io::Result<Self> {
        // Where there is no descriptor left, standard error is there.
        let socket = Path::new(journal::SOCKET);
        let journal = if journal::is_standard_error() { Journal::new(socket).ok() } else { None };
        Self::to(journal, cluster, node)
    }

    fn to(journal: Option<Journal>, cluster: &str, node: &str) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel(KEPT);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            journal,
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            dropped: Arc::clone(&dropped),
        };
        let thread = std::thread::Builder::new().name("log".into()).stack_size(64 * 1024);
        thread.spawn(move || writer.work(&queue))?;
        Ok(Self { lines, dropped })
    }

    /// Something that people will look for.
    pub(crate) fn info(&self, text: impl Display) {
        self.put(Priority::Info, text, Vec::new());
    }

    /// Something that somebody should look at.
    pub(crate) fn warning(&self, text: impl Display) {
        self.put(Priority::Warning, text, Vec::new());
    }

    /// Either, about a group.
    pub(crate) fn about(&self, group: &str, warning: bool, text: impl Display) {
        let priority = if warning { Priority::Warning } else { Priority::Info };
        self.put(priority, text, vec![("VIPDRIFT_GROUP", group.to_owned())]);
    }

    /// A decision about the role of this node in a group, and why.
    pub(crate) fn role_changed(&self, group: &str, decision: &Decision) {
        let Decision { group: _, from, to, term, reason, evidence: _, takeover: _ } = decision;
        let (from, to) = (role(*from), role(*to));
        let fields = vec![
            ("MESSAGE_ID", ROLE_CHANGED.to_owned()),
            ("VIPDRIFT_GROUP", group.to_owned()),
            ("VIPDRIFT_FROM", from.to_owned()),
            ("VIPDRIFT_TO", to.to_owned()),
            ("VIPDRIFT_TERM", term.to_string()),
            ("VIPDRIFT_REASON", reason.clone()),
        ];
        self.put(Priority::Notice, format_args!("{group}: {from} -> {to}, term {term}: {reason}"), fields);
    }

    /// Lines dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything said so far is written, a short while at most. Before the end of the process.
    pub(crate) fn flush(&self) {
        let (mark, reached) = sync_channel(1);
        if self.lines.try_send(Entry::Mark(mark)).is_ok() {
            let _ = reached.recv_timeout(Duration::from_millis(300));
        }
    }

    fn put(&self, priority: Priority, text: impl Display, fields: Vec<(&'static str, String)>) {
        let line = Line { at: jiff::Timestamp::now(), priority, text: text.to_string(), fields };
        if self.lines.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writing thread.
struct Writer {
    journal: Option<Journal>,
    cluster: String,
    node: String,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn work(&self, queue: &Receiver<Entry>) {
        let mut told = 0;
        while let Ok(entry) = queue.recv() {
            let line = match entry {
                Entry::Line(line) => line,
                Entry::Mark(reached) => {
                    let _ = reached.try_send(());
                    continue;
                }
            };
            self.write(&line);
            let now = self.dropped.load(Ordering::Relaxed);
            if now != told {
                self.write(&Line {
                    at: jiff::Timestamp::now(),
                    priority: Priority::Warning,
                    text: format!("{} log lines were dropped", now - told),
                    fields: Vec::new(),
                });
                told = now;
            }
        }
    }

    fn write(&self, line: &Line) {
        let sent = self.journal.as_ref().is_some_and(|journal| {
            let priority = (line.priority as u8).to_string();
            let mut fields = vec![
                ("MESSAGE", line.text.as_str()),
                ("PRIORITY", &priority),
                ("SYSLOG_IDENTIFIER", "vipdrift"),
                ("VIPDRIFT_CLUSTER", &self.cluster),
                ("VIPDRIFT_NODE", &self.node),
            ];
            fields.extend(line.fields.iter().map(|(name, value)| (*name, value.as_str())));
            journal.send(&fields).is_ok()
        });
        if !sent {
            let warning = if line.priority == Priority::Warning { "warning: " } else { "" };
            let stamp = line.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
            let text = format!("{stamp} {warning}{}\n", line.text);
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use vipdrift_core::{GroupIndex, RoleName};

    use super::*;

    fn journal() -> (tempfile::TempDir, UnixDatagram, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let log = Log::to(Some(Journal::new(&path).unwrap()), "edge", "alpha").unwrap();
        (folder, socket, log)
    }

    fn record(socket: &UnixDatagram) -> String {
        let mut bytes = vec![0; 1 << 16];
        let length = socket.recv(&mut bytes).unwrap();
        bytes.truncate(length);
        String::from_utf8(bytes).unwrap()
    }

    const ALWAYS: &str = "SYSLOG_IDENTIFIER=vipdrift\nVIPDRIFT_CLUSTER=edge\nVIPDRIFT_NODE=alpha\n";

    #[test]
    fn people_are_told_what_to_search_for() {
        assert!(include_str!("../../../README.md").contains(&format!("MESSAGE_ID={ROLE_CHANGED}")));
    }

    #[test]
    fn the_journal_gets_fields() {
        let (_folder, socket, log) = journal();
        log.info("bravo heard");
        assert_eq!(record(&socket), format!("MESSAGE=bravo heard\nPRIORITY=6\n{ALWAYS}"));
        log.warning("bravo does not hear this node");
        assert_eq!(record(&socket), format!("MESSAGE=bravo does not hear this node\nPRIORITY=4\n{ALWAYS}"));
        log.about("web", true, "web: hook active: exit status 1");
        let expected =
            format!("MESSAGE=web: hook active: exit status 1\nPRIORITY=4\n{ALWAYS}VIPDRIFT_GROUP=web\n");
        assert_eq!(record(&socket), expected);
        log.role_changed(
            "web",
            &Decision {
                group: GroupIndex(0),
                from: RoleName::Standby,
                to: RoleName::Active,
                term: 3,
                reason: "bravo silent".into(),
                evidence: vec!["asked".into()],
                takeover: None,
            },
        );
        let expected = format!(
            "MESSAGE=web: standby -> active, term 3: bravo silent\nPRIORITY=5\n{ALWAYS}\
             MESSAGE_ID=46bec946d6aa436aa6c9f6f8f2467f8c\nVIPDRIFT_GROUP=web\nVIPDRIFT_FROM=standby\nVIPDRIFT_TO=active\n\
             VIPDRIFT_TERM=3\nVIPDRIFT_REASON=bravo silent\n"
        );
        assert_eq!(record(&socket), expected);
    }

    #[test]
    fn a_journal_that_hangs_keeps_nobody_and_costs_lines_that_are_counted() {
        let (_folder, socket, log) = journal();
        let most = 2 * KEPT;
        let begun = std::time::Instant::now();
        (0..most).for_each(|number| log.info(number));
        log.flush();
        // Nobody reads yet: had any of this waited for that, it would wait for ever.
        assert!(begun.elapsed() < Duration::from_secs(15));
        let dropped = log.dropped();
        assert!(dropped > 0);
        let (mut heard, mut told) = (0, 0);
        while heard + told < most as u64 {
            let record = record(&socket);
            let text = record.lines().next().and_then(|line| line.strip_prefix("MESSAGE=")).unwrap();
            match text.strip_suffix(" log lines were dropped") {
                Some(count) => told += count.parse::<u64>().unwrap(),
                None => heard += 1,
            }
        }
        assert_eq!((heard + told, told), (most as u64, dropped));
    }
}
