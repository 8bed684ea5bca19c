//! The selected group: where it is and why, its VIPs, its checks, and what the last decision rests on.

use ratatui::style::Style;
use ratatui::text::Line;
use vipdrift_control::{Check, CheckEffect, CheckState, EventKind, Group, GroupRole, Status};

use super::super::model::Model;
use super::Now;
use super::paper::{Row, width, wrap};
use super::words::{BAD, BOLD, FAINT, ODD, PLAIN, role, since};

/// Labels stand in a column of their own.
const LABEL: usize = 8;
/// Lines of what a decision rests on.
const EVIDENCE: usize = 4;

/// As many lines as there is to say; the first sentence takes two of them, or `one`.
pub(super) fn lines(model: &Model, now: Now, columns: usize, one: bool) -> Vec<Line<'static>> {
    let (Some(status), Some(group)) = (model.last(), model.group()) else { return Vec::new() };
    let labelled = |label: &str, text: &str, style: Style| {
        let row = Row::new(columns).cell(label, FAINT, LABEL);
        row.text(text, style).line()
    };
    let mut lines = Vec::new();
    // Its name stands whole.
    let name = width(&group.name).clamp(LABEL, (columns / 2).max(LABEL));
    let texts = wrap(&heading(status, group, now), columns.saturating_sub(name + 2), if one { 1 } else { 2 });
    for (text, label) in texts.iter().zip([group.name.as_str(), ""]) {
        lines.push(Row::new(columns).cell(label, BOLD, name).text(text, PLAIN).line());
    }
    lines.push(labelled("VIPs", &vips(group), PLAIN));
    let mut checks: Vec<&Check> = group.checks.iter().collect();
    checks.sort_by_key(|check| check.state == CheckState::Passing);
    for check in checks {
        let (text, style) = in_words(check, now);
        lines.push(labelled("check", &text, style));
    }
    for (evidence, position) in evidence(model, group).iter().zip(0..EVIDENCE) {
        lines.push(labelled(if position == 0 { "rests on" } else { "" }, evidence, FAINT));
    }
    lines
}

/// Where it is, for how long, and why.
fn heading(status: &Status, group: &Group, now: Now) -> String {
    let here = match since(&group.since, now.wall) {
        Some(time) => format!("{} here for {time}", role(group.role)),
        None => format!("{} here", role(group.role)),
    };
    let place = match &group.active_node {
        Some(node) if *node == status.node => String::new(),
        Some(node) => format!("active on {node}, "),
        None => "held by no node that is known, ".to_owned(),
    };
    format!("{place}{here}, term {}: {}", group.term, group.reason)
}

fn vips(group: &Group) -> String {
    let one = |vip: &vipdrift_control::Vip| {
        let mounted = match (vip.mounted, group.role) {
            (true, _) => " mounted",
            (false, GroupRole::Active) => " NOT MOUNTED",
            (false, _) => "",
        };
        format!("{} on {}{mounted}", vip.address, vip.interface)
    };
    // Those that are missing must be seen.
    let (missing, rest): (Vec<_>, Vec<_>) =
        group.vips.iter().partition(|vip| group.role == GroupRole::Active && !vip.mounted);
    missing.into_iter().chain(rest).map(one).collect::<Vec<_>>().join(", ")
}

fn in_words(check: &Check, now: Now) -> (String, Style) {
    let (word, style) = match (check.state, check.effect) {
        (CheckState::Passing, _) => ("passing", PLAIN),
        (CheckState::Failing, CheckEffect::Fault) => ("FAILING", BAD),
        (CheckState::Failing, CheckEffect::Demote) => ("FAILING (demotes)", ODD),
    };
    let time = check.since.as_ref().and_then(|at| since(at, now.wall)).map(|time| format!(" for {time}"));
    // A reason often ends with what the program said last.
    let news = |word: &&str| check.state == CheckState::Failing && !check.reason.contains(word);
    let output = match check.output.split_whitespace().next_back().filter(news) {
        Some(_) => format!(" ({})", check.output.trim()),
        None => String::new(),
    };
    (format!("{} {word}{}: {}{output}", check.name, time.unwrap_or_default(), check.reason), style)
}

/// What the last decision about the group rests on.
fn evidence<'a>(model: &'a Model, group: &Group) -> &'a [String] {
    let about = |event: &&vipdrift_control::Event| {
        event.kind == EventKind::Decision && event.group.as_ref() == Some(&group.name)
    };
    model.events.iter().rev().find(about).map_or(&[], |event| event.evidence.as_slice())
}
