//! What happened, the latest first.

use ratatui::style::Style;
use ratatui::text::Line;
use vipdrift_control::{Event, EventKind};

use super::super::model::Model;
use super::Now;
use super::paper::{Row, width};
use super::words::{BOLD, FAINT, ODD, PLAIN, since};

/// `59 m ago`
const AGO: usize = 8;
/// Longest name of a group that is shown whole.
const GROUP: usize = 16;
/// From so many lines on, or where there is one to spare, one is spent on a title.
const TITLED: usize = 4;

/// Lines that there would be.
pub(super) fn wanted(model: &Model) -> usize {
    if model.events.is_empty() { 0 } else { model.events.len() + 1 }
}

/// As many as there is room for.
pub(super) fn lines(model: &Model, now: Now, columns: usize, height: usize) -> Vec<Line<'static>> {
    let title = height >= TITLED || height > model.events.len();
    let rows = if title { height.saturating_sub(1) } else { height };
    let shown = || model.events.iter().rev().take(rows);
    let named = shown().filter_map(|event| event.group.as_ref());
    let group = named.map(|name| width(name)).max().map_or(0, |widest| widest.clamp(5, GROUP));
    let mut lines = Vec::new();
    if title && !model.events.is_empty() {
        let mut row = Row::new(columns).cell_right("AGO", FAINT, AGO);
        if group > 0 {
            row = row.cell("GROUP", FAINT, group);
        }
        lines.push(row.text("WHAT HAPPENED, THE LATEST FIRST", FAINT).line());
    }
    lines.extend(shown().map(|event| {
        let mut row = Row::new(columns).cell_right(&ago(event, now), FAINT, AGO);
        if group > 0 {
            row = row.cell(event.group.as_deref().unwrap_or_default(), PLAIN, group);
        }
        let (before, style, reason) = match (event.kind, &event.from, &event.to) {
            (EventKind::Decision, Some(from), Some(to)) => (format!("{from} → {to}: "), BOLD, PLAIN),
            (EventKind::Warning, ..) => ("warning: ".to_owned(), ODD, ODD),
            _ => (String::new(), PLAIN, Style::new()),
        };
        row.text(&before, style).text(&event.reason, reason).line()
    }));
    lines
}

fn ago(event: &Event, now: Now) -> String {
    since(&event.at, now.wall).map_or_else(String::new, |time| format!("{time} ago"))
}
