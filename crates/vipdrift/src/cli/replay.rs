//! `vipdrift replay`: a journal once more, at a desk.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp as WallTime;
use serde::Serialize;

use super::{DONE, NOT_DONE, Replay, USAGE, fail};
use crate::config::{nearest, plain};
use crate::journal::replay::{Item, Journal, Micros, Outcome, journals, replay};

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    journals: Vec<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    outcome: Outcome,
    /// When the first difference came.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference_at: Option<String>,
    /// Why it was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    shown: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    at: String,
    #[serde(flatten)]
    item: Item,
}

pub(super) fn run(args: &Replay) -> u8 {
    let found = match journals(&args.journal) {
        Ok(found) => found,
        Err(why) => return fail(NOT_DONE, &why.to_string()),
    };
    if let Some(wanted) = &args.node
        && !found.iter().any(|journal| journal.node == *wanted)
    {
        let names = || found.iter().map(|journal| journal.node.as_str());
        return fail(USAGE, &unknown("there is no journal of a node", wanted, names()));
    }
    let wanted = |journal: &&Journal| args.node.as_ref().is_none_or(|node| *node == journal.node);
    match tell(args, found.iter().filter(wanted)) {
        Ok(status) => status,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => NOT_DONE,
        Err(error) => fail(NOT_DONE, &plain(&error)),
    }
}

fn tell<'j>(args: &Replay, journals: impl Iterator<Item = &'j Journal>) -> io::Result<u8> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut answer = Answer { ok: true, journals: Vec::new() };
    let mut reasons = Vec::new();
    let mut groups = BTreeSet::new();
    let mut pace = if args.step { Pace::Step } else { Pace::Run };
    for (number, journal) in journals.enumerate() {
        if !args.json {
            let blank = if number == 0 { "" } else { "\n" };
            writeln!(out, "{blank}node {}", journal.node)?;
        }
        let mut outcome = Outcome::default();
        let mut shown = Vec::new();
        let mut written = Ok(());
        let end = replay(journal, &mut outcome, &mut |moment, item| {
            if !is_wanted(args, moment, &item) {
                return;
            }
            if args.json {
                shown.push(Shown { at: time(moment), item });
            } else if written.is_ok() && pace != Pace::Hide {
                written = write_item(&mut out, moment, &item).and_then(|()| pace.wait(&mut out));
            }
        });
        written?;
        groups.append(&mut outcome.groups);
        let error = end.err().map(|why| why.to_string());
        reasons.extend(error.clone());
        let difference_at = outcome.difference.as_ref().map(|difference| time(difference.moment));
        if let Some(difference) = &outcome.difference {
            reasons.push(format!(
                "{}: record and replay differ first at {}, {} byte {}: {}",
                journal.node,
                time(difference.moment),
                difference.file.display(),
                difference.offset,
                difference.event
            ));
        }
        if args.json {
            answer.journals.push(Told { outcome, difference_at, error, shown });
        } else {
            write_end(&mut out, &outcome)?;
        }
    }
    answer.ok = reasons.is_empty();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&answer).unwrap_or_default())?;
    }
    out.flush()?;
    if let Some(group) = args.group.as_ref().filter(|group| !groups.contains(*group)) {
        let known = groups.iter().map(String::as_str);
        return Ok(fail(USAGE, &unknown("there is no group", group, known)));
    }
    Ok(if reasons.is_empty() { DONE } else { fail(NOT_DONE, &reasons.join("\nvipdrift: ")) })
}

/// How what is shown follows one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// At once.
    Run,
    /// As somebody at the keyboard wants it.
    Step,
    /// No more of it.
    Hide,
}

impl Pace {
    /// Waits for a line, if it is to; the end of the input means that nobody wants to see more.
    fn wait(&mut self, out: &mut impl Write) -> io::Result<()> {
        if *self != Self::Step {
            return Ok(());
        }
        out.flush()?;
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line)?;
        match line.trim() {
            _ if read == 0 => *self = Self::Hide,
            "q" => *self = Self::Hide,
            "c" => *self = Self::Run,
            _ => {}
        }
        Ok(())
    }
}

fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("{what} `{name}`; did you mean `{near}`?"),
        None => format!("{what} `{name}`; known: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn is_wanted(args: &Replay, moment: Micros, item: &Item) -> bool {
    let time = WallTime::from_microsecond(moment).unwrap_or(WallTime::UNIX_EPOCH);
    if args.from.is_some_and(|from| time < from) || args.until.is_some_and(|until| time >= until) {
        return false;
    }
    match item {
        Item::Decision { group, .. } => args.group.as_ref().is_none_or(|wanted| wanted == group),
        Item::Segment { .. } | Item::Event { .. } | Item::Said { .. } => args.events,
    }
}

fn time(moment: Micros) -> String {
    let time = WallTime::from_microsecond(moment).unwrap_or(WallTime::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn write_item(out: &mut impl Write, moment: Micros, item: &Item) -> io::Result<()> {
    let time = time(moment);
    match item {
        Item::Segment { text } => writeln!(out, "{time}  -- {text}"),
        Item::Event { text } => writeln!(out, "{time}  {text}"),
        Item::Said { text } => writeln!(out, "{time}    => {text}"),
        Item::Decision { group, from, to, term, reason, evidence } => {
            writeln!(out, "{time}  {group}: {from} -> {to}, term {term}: {reason}")?;
            evidence.iter().try_for_each(|line| writeln!(out, "{:27}    {line}", ""))
        }
    }
}

fn write_end(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    for note in &outcome.notes {
        writeln!(out, "note: {note}")?;
    }
    if outcome.lost > 0 {
        writeln!(out, "note: {} events are missing: the disk did not keep up when they came", outcome.lost)?;
    }
    let plural = if outcome.segments == 1 { "" } else { "s" };
    writeln!(out, "{} events in {} segment{plural}", outcome.events, outcome.segments)?;
    writeln!(out, "same decisions: {} of {}", outcome.same, outcome.decisions)?;
    let Some(difference) = &outcome.difference else { return Ok(()) };
    writeln!(out, "first difference: {}, {}", time(difference.moment), difference.event)?;
    for (what, lines) in [("recorded", &difference.recorded), ("replayed", &difference.replayed)] {
        if lines.is_empty() {
            writeln!(out, "  {what}: nothing")?;
        }
        lines.iter().try_for_each(|line| writeln!(out, "  {what}: {line}"))?;
    }
    Ok(())
}
