//! What was asked, what became of it, and what the keys do.

use ratatui::style::Style;
use ratatui::text::Line;
use vipdrift_control::{GroupRole, Status};

use super::super::model::{Command, Dialog, Focus, Model, health, held, nodes, seat};
use super::Now;
use super::paper::{Row, width, wrap};
use super::words::{BAD, BOLD, FAINT, GOOD, ODD, role, span, under_way};

/// A key, and what it does.
type Hint = (&'static str, &'static str);

/// Lines that a message may take.
const MOST: usize = 3;

/// A question, the command that is under way, or what became of the last one.
pub(super) fn message(model: &Model, now: Now, columns: usize) -> Vec<Line<'static>> {
    let (text, style) = if let Dialog::Confirm(command) = &model.dialog {
        (model.last().map(|status| what_will_happen(status, command)).unwrap_or_default(), ODD.patch(BOLD))
    } else if let Some(outcome) = model.outcome(now.instant) {
        match outcome {
            Ok(done) => (format!("done: {done}"), GOOD),
            Err(why) => (format!("not done: {why}"), BAD),
        }
    } else if let Some((command, since)) = &model.pending {
        let time = now.instant.saturating_duration_since(*since);
        (format!("{} ... {}", under_way(command), span(time)), Style::new())
    } else {
        return Vec::new();
    };
    wrap(&text, columns, MOST).iter().map(|line| Row::new(columns).text(line, style).line()).collect()
}

/// What a command will do, as far as can be foreseen.
fn what_will_happen(status: &Status, command: &Command) -> String {
    match command {
        Command::Switchover { group, to } => switchover(status, group, to.as_deref()),
        Command::Drain { node } => drain(status, node),
        Command::Undrain { node } => {
            let known =
                health(status, node).is_some_and(|state| state != vipdrift_control::HealthState::Drained);
            let already = if known { " (it is not drained now)" } else { "" };
            format!("Undrain {node}?{already} It may hold groups again.")
        }
    }
}

fn switchover(status: &Status, group: &str, to: Option<&str>) -> String {
    let Some(group) = status.groups.iter().find(|known| known.name == group) else {
        return format!("Move {group}? There is no such group any more.");
    };
    let name = &group.name;
    let from = group.active_node.as_deref().unwrap_or("no node that is known");
    let addresses = match group.vips.as_slice() {
        [] => String::new(),
        [only] => format!(" with {}", only.address),
        [first, rest @ ..] => format!(" with {} and {} more", first.address, rest.len()),
    };
    let heir = to.unwrap_or("the next healthy node");
    let mut text = format!("Move {name}{addresses} from {from} to {heir}?");
    if let Some(seat) = to.and_then(|to| seat(status, group, to)) {
        let to = to.unwrap_or_default();
        let unready = match seat.role {
            _ if seat.old => Some("not heard"),
            GroupRole::Standby if seat.demoted => Some("demoted by a check"),
            GroupRole::Standby => None,
            other => Some(role(other)),
        };
        if let Some(unready) = unready {
            text += &format!(" {to} is {unready}, so this will be refused.");
        }
    }
    text
}

fn drain(status: &Status, node: &str) -> String {
    let groups: Vec<&str> = held(status, node).collect();
    let ready = |group: &&&str| {
        let known = status.groups.iter().find(|known| known.name == ***group);
        known.is_some_and(|group| {
            nodes(status)
                .filter(|other| *other != node)
                .filter_map(|other| seat(status, group, other))
                .any(|seat| !seat.old && seat.role == GroupRole::Standby)
        })
    };
    let (moving, staying): (Vec<_>, Vec<_>) = groups.iter().partition(ready);
    let list = |names: Vec<&&str>| match names.as_slice() {
        names @ [_, _, _, _, ..] => format!("{} groups", names.len()),
        names => names.iter().map(|name| **name).collect::<Vec<_>>().join(", "),
    };
    let mut text = format!("Drain {node}? It takes no group until it is undrained, over restarts too");
    text += if groups.is_empty() { "; it holds none now." } else { "." };
    if !moving.is_empty() {
        let verb = if moving.len() == 1 { "goes" } else { "go" };
        text += &format!(" {} {verb} to the next healthy node.", list(moving));
    }
    if !staying.is_empty() {
        text += &format!(" No other node is ready to take {}.", list(staying));
    }
    text
}

/// What the keys do now; the last ones are always seen.
pub(super) fn keys(model: &Model, columns: usize) -> Line<'static> {
    let other = match model.focus {
        Focus::Groups => ("Tab", "nodes"),
        Focus::Nodes => ("Tab", "groups"),
    };
    let (hints, last): (Vec<Hint>, Vec<Hint>) = match &model.dialog {
        Dialog::Confirm(_) => (vec![], vec![("y", "do it"), ("any other key", "cancel")]),
        Dialog::Heir { .. } => (vec![("↑↓", "choose")], vec![("Enter", "go on"), ("Esc", "cancel")]),
        Dialog::Help(_) => (vec![("↑↓", "scroll")], vec![("any other key", "back")]),
        Dialog::None => (
            vec![("↑↓", "select"), other, ("s", "switchover"), ("d", "drain"), ("u", "undrain")],
            vec![("?", "help"), ("q", "quit")],
        ),
    };
    let length = |hint: &Hint| width(hint.0) + 1 + width(hint.1) + 3;
    let mut room = columns.saturating_sub(last.iter().map(length).sum());
    let mut fits = |hint: &&Hint| {
        let enough = length(hint) <= room;
        room = room.saturating_sub(length(hint));
        enough
    };
    let mut row = Row::new(columns);
    for (key, what) in hints.iter().take_while(|hint| fits(hint)).chain(&last) {
        row = row.text(key, BOLD).text(" ", FAINT).text(what, FAINT).pad(3);
    }
    row.line()
}
