//! A journal through the real core once more: does it do the same?

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::Serialize;
use vipdrift_core::{Checkpoint, Deadline, Decision, Event, Node, NodeConfig, RoleName, Timestamp};

pub(crate) use super::read::{Journal, Unread, journals};
pub(crate) use super::words::role;

use super::entry::{Entry, Hash, Origin, Said, Segment, Step, Wall, decode, state, state_hash};
use super::frame::{Damage, Frames, Next};
use super::read::foreign;
use super::words::Names;

/// A moment on the wall clock, in microseconds since 1970, UTC.
pub(crate) type Micros = i64;

/// Something to show, with its moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Item {
    /// A segment begins.
    Segment { text: String },
    /// An event was given to the core.
    Event { text: String },
    /// The core decided, in the replay.
    Decision {
        group: String,
        from: &'static str,
        to: &'static str,
        term: u64,
        reason: String,
        evidence: Vec<String>,
    },
    /// What else the core said, in the replay.
    Said { text: String },
}

/// Where replay and record part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) file: PathBuf,
    /// In bytes from the beginning of the file.
    pub(crate) offset: usize,
    #[serde(skip)]
    pub(crate) moment: Micros,
    /// What had happened.
    pub(crate) event: String,
    /// What the core did when it was written.
    pub(crate) recorded: Vec<String>,
    /// What it does now.
    pub(crate) replayed: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) node: String,
    pub(crate) segments: u64,
    pub(crate) events: u64,
    /// Decisions that were recorded.
    pub(crate) decisions: u64,
    /// Those that the replay made as well, at the same event.
    pub(crate) same: u64,
    pub(crate) difference: Option<Difference>,
    /// Events that were dropped when the journal was written.
    pub(crate) lost: u64,
    /// What people should know before they trust it.
    pub(crate) notes: Vec<String>,
    /// Groups that the node knew.
    #[serde(skip)]
    pub(crate) groups: BTreeSet<String>,
}

/// Replays the journal of a node. Whatever happens is given to `show`, with its moment.
///
/// # Errors
/// A damaged file; everything before that was shown, and `outcome` tells of it.
pub(crate) fn replay(
    journal: &Journal,
    outcome: &mut Outcome,
    show: &mut dyn FnMut(Micros, Item),
) -> Result<(), Unread> {
    outcome.node.clone_from(&journal.node);
    let mut replay = Replay { core: None, serial: None, programs: BTreeSet::new(), outcome, show };
    for file in &journal.files {
        replay.file(&file.path, &file.bytes).map_err(|damage| Unread::Damaged(file.path.clone(), damage))?;
    }
    let own = env!("CARGO_PKG_VERSION");
    let others: Vec<_> = replay.programs.iter().filter(|version| *version != own).cloned().collect();
    if !others.is_empty() {
        replay.outcome.notes.push(format!(
            "written by vipdrift {}, replayed by {own}: where they decide differently, that may be meant",
            others.join(", ")
        ));
    }
    Ok(())
}

/// The core, and how to speak of what happens to it.
struct Core {
    node: Node,
    config: NodeConfig,
    wall: Wall,
    incarnation: u64,
}

impl Core {
    fn moment(&self, at: Timestamp) -> Micros {
        let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let Wall { at: then, micros: known } = self.wall;
        if at >= then { known.saturating_add(micros(at.since(then))) } else { known - micros(then.since(at)) }
    }

    /// Takes out everything that the core wants done.
    fn drain(&mut self) -> (u64, Vec<Said>) {
        let (mut hash, mut said) = (Hash::default(), Vec::new());
        while let Some(action) = self.node.poll_action() {
            hash.action(&action);
            said.extend(Said::of(&action));
        }
        (hash.0, said)
    }
}

struct Replay<'r> {
    core: Option<Core>,
    /// Of the segment at hand.
    serial: Option<u64>,
    programs: BTreeSet<String>,
    outcome: &'r mut Outcome,
    show: &'r mut dyn FnMut(Micros, Item),
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    file: &'p Path,
    offset: usize,
}

impl Replay<'_> {
    fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Damage> {
        let mut frames = Frames::new(bytes)?;
        loop {
            match frames.next()? {
                Next::Payload(offset, payload) => {
                    let place = Place { file: path, offset };
                    match decode(payload) {
                        Ok(entry) => self.entry(place, entry)?,
                        Err(why) => return Err(Damage { offset, what: foreign(&why) }),
                    }
                }
                Next::Torn(offset) => {
                    self.outcome.notes.push(format!(
                        "{}: the last entry, at byte {offset}, is not whole: the writer was interrupted there",
                        path.display()
                    ));
                    return Ok(());
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn entry(&mut self, place: Place<'_>, entry: Entry<'_>) -> Result<(), Damage> {
        match entry {
            Entry::Segment(segment) => self.begin(place, *segment),
            Entry::Step(step) => {
                self.step(place, &step);
                Ok(())
            }
            Entry::Wall(wall) => {
                if let Some(core) = &mut self.core {
                    core.wall = wall;
                }
                Ok(())
            }
            Entry::End { state: recorded } => {
                if let Some(core) = &self.core
                    && state_hash(&state(&core.node)) != recorded
                {
                    let moment = core.moment(core.wall.at);
                    self.differ(
                        place,
                        moment,
                        "the end".into(),
                        &["a state".into()],
                        &["another state".into()],
                    );
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, place: Place<'_>, segment: Segment<'_>) -> Result<(), Damage> {
        let keys = segment.keys();
        let Segment { program, serial, incarnation, wall, origin, .. } = segment;
        let follows = self.serial.replace(serial).is_some_and(|before| serial == before + 1);
        self.programs.insert(program);
        self.outcome.segments += 1;
        match origin {
            Origin::Birth { config, seed, start, hash, said } => {
                let mut config = *config;
                config.keys = keys;
                let text = match &start {
                    vipdrift_core::Start::Fresh { .. } => "a brain starts afresh",
                    vipdrift_core::Start::Resumed(_) => "a brain resumes what an earlier one held",
                };
                let node = Node::new(config.clone(), seed, start, wall.at);
                let core = self.core.insert(Core { node, config, wall, incarnation });
                let replayed = core.drain();
                let moment = wall.micros;
                (self.show)(moment, Item::Segment { text: text.to_owned() });
                self.compare(place, moment, text.to_owned(), (hash, &said), &replayed);
            }
            Origin::State { lost, state: recorded } => {
                let before = self.core.take();
                let checkpoint: Checkpoint = rmp_serde::from_slice(recorded)
                    .map_err(|error| Damage { offset: place.offset, what: foreign(&error.to_string()) })?;
                let node = Node::restore(checkpoint, keys);
                let config = node.config().clone();
                let known = before.filter(|core| follows && lost == 0 && core.incarnation == incarnation);
                let same = known.is_none_or(|before| state(&before.node) == recorded);
                self.core = Some(Core { node, config, wall, incarnation });
                self.outcome.lost += lost;
                let text = match lost {
                    0 => "a segment begins with the state of the core".to_owned(),
                    lost => {
                        format!("{lost} events are missing here; the state of the core after them is there")
                    }
                };
                (self.show)(wall.micros, Item::Segment { text });
                if !same {
                    let event = "a segment begins with the state of the core".to_owned();
                    self.differ(place, wall.micros, event, &["this state".into()], &["another state".into()]);
                }
            }
        }
        self.know_groups();
        Ok(())
    }

    fn know_groups(&mut self) {
        if let Some(core) = &self.core {
            self.outcome.groups.extend(core.config.groups.iter().map(|group| group.name.clone()));
        }
    }

    fn step(&mut self, place: Place<'_>, step: &Step<'_>) {
        let Some(core) = &mut self.core else { return };
        self.outcome.events += 1;
        let deadline: Option<Deadline> = core.node.next_deadline();
        let text = Names(&core.config).event(&step.event, deadline);
        let moment = core.moment(step.at);
        let event: Event<'_> = step.event.clone();
        // A panic of the core ends a brain, and is as good a reason to replay its journal as any.
        let handled = catch_unwind(AssertUnwindSafe(|| core.node.handle(event, step.at)));
        let replayed = if handled.is_ok() { core.drain() } else { (0, vec![Said::Panic]) };
        (self.show)(moment, Item::Event { text: text.clone() });
        self.compare(place, moment, text, (step.hash, &step.said), &replayed);
        if handled.is_err() {
            self.core = None;
        }
    }

    /// Shows what the core said, and holds it against the record.
    fn compare(
        &mut self,
        place: Place<'_>,
        moment: Micros,
        event: String,
        recorded: (u64, &[Said]),
        replayed: &(u64, Vec<Said>),
    ) {
        let Some(core) = &self.core else { return };
        let names = Names(&core.config);
        for said in &replayed.1 {
            let item = match said {
                Said::Decision(decision) => item(&names, decision),
                other => Item::Said { text: spell(&names, other) },
            };
            (self.show)(moment, item);
        }
        let decisions = |said: &[Said]| -> Vec<Decision> {
            let only = |said: &Said| if let Said::Decision(it) = said { Some(it.clone()) } else { None };
            said.iter().filter_map(only).collect()
        };
        let (then, now) = (decisions(recorded.1), decisions(&replayed.1));
        self.outcome.decisions += then.len() as u64;
        self.outcome.same += then.iter().zip(&now).filter(|(then, now)| then == now).count() as u64;
        if (recorded.0, recorded.1) == (replayed.0, &replayed.1[..]) {
            return;
        }
        let lines = |said: &[Said], hash: u64| -> Vec<String> {
            if recorded.1 == &replayed.1[..] {
                return vec![format!("sends and orders other things (hash {hash:016x})")];
            }
            said.iter().map(|said| spell(&names, said)).collect()
        };
        let (then, now) = (lines(recorded.1, recorded.0), lines(&replayed.1, replayed.0));
        self.differ(place, moment, event, &then, &now);
    }

    /// Keeps the first difference: what follows may follow from it.
    fn differ(
        &mut self,
        place: Place<'_>,
        moment: Micros,
        event: String,
        recorded: &[String],
        replayed: &[String],
    ) {
        self.outcome.difference.get_or_insert_with(|| Difference {
            file: place.file.to_owned(),
            offset: place.offset,
            moment,
            event,
            recorded: recorded.to_vec(),
            replayed: replayed.to_vec(),
        });
    }
}

fn item(names: &Names<'_>, decision: &Decision) -> Item {
    let Decision { group, from, to, term, reason, evidence, takeover: _ } = decision;
    Item::Decision {
        group: names.group(*group).to_owned(),
        from: role(*from),
        to: role(*to),
        term: *term,
        reason: reason.clone(),
        evidence: evidence.clone(),
    }
}

/// What a core said, in a line.
fn spell(names: &Names<'_>, said: &Said) -> String {
    match said {
        Said::Decision(Decision { group, from, to, term, reason, evidence, takeover: _ }) => {
            let change = |from: RoleName, to: RoleName| format!("{} -> {}", role(from), role(to));
            let mut line = format!("{}: {}, term {term}: {reason}", names.group(*group), change(*from, *to));
            if !evidence.is_empty() {
                line.push_str(&format!(" ({})", evidence.join("; ")));
            }
            line
        }
        Said::Note(note) if note.warning => format!("warning: {}", note.text),
        Said::Note(note) => note.text.clone(),
        Said::Plan(plan, vips) => format!("plan {}: hold {}", plan.0, names.vips(vips)),
        Said::Reply(_, Ok(done)) => format!("answer: {done}"),
        Said::Reply(_, Err(why)) => format!("answer: not done: {why}"),
        Said::Exit => "the node ends".to_owned(),
        Said::Panic => "the core panics: this is an error in vipdrift".to_owned(),
    }
}
