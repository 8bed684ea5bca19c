//! Who holds what: groups by nodes.

use ratatui::style::Modifier;
use ratatui::text::Line;
use vipdrift_control::{Group, Status};

use super::super::model::{Focus, Model, nodes, seat};
use super::Now;
use super::paper::{Row, width, window};
use super::words::{BAD, BOLD, FAINT, PLAIN, since};
use super::{nodes::marker, words};

/// What the word for a role takes at most, old ones in brackets.
const ROLE: usize = 9;
/// Longest name of a node that is shown whole.
const NODE: usize = 14;
const FOR: usize = 5;
const TERM: usize = 5;
/// A reason in less room says nothing.
const WHY: usize = 12;
/// From this width on there is room for the term.
const WIDE: usize = 100;

/// Which columns there are.
struct Columns {
    group: usize,
    /// First node that is shown, and the widths of those that are.
    first: usize,
    nodes: Vec<usize>,
    /// Not all nodes fit: then a column names the holder.
    active: Option<usize>,
    term: bool,
}

impl Columns {
    /// The first column holds `title` whole.
    fn of(status: &Status, title: &str, selected_node: usize, columns: usize) -> Self {
        let longest = |names: &mut dyn Iterator<Item = &str>| names.map(width).max().unwrap_or(0);
        let group = longest(&mut status.groups.iter().map(|group| group.name.as_str()));
        let group = group.clamp(8, (columns / 4).clamp(8, 28)).max(width(title));
        let widths: Vec<usize> = nodes(status).map(|node| width(node).clamp(ROLE, NODE) + 2).collect();
        let room = columns.saturating_sub(2 + group + 2 + FOR + 2);
        if widths.iter().sum::<usize>() <= room {
            return Self { group, first: 0, nodes: widths, active: None, term: columns >= WIDE };
        }
        let active = longest(&mut nodes(status)).clamp(ROLE, NODE);
        let room = room.saturating_sub(active + 2);
        // From the selected node back to the first one that fits with it, then on.
        let mut used = 0;
        let mut fits = |width: &&usize| {
            used += **width;
            used <= room
        };
        let before = widths[..=selected_node].iter().rev().take_while(&mut fits).count();
        let first = selected_node + 1 - before;
        let mut used = 0;
        let shown = widths[first..].iter().copied().take_while(|width| {
            used += width;
            used <= room
        });
        Self { group, first, nodes: shown.collect(), active: Some(active), term: false }
    }
}

/// The table, in so many lines.
pub(super) fn lines(model: &Model, now: Now, columns: usize, height: usize) -> Vec<Line<'static>> {
    let Some(status) = model.last() else { return Vec::new() };
    let (head, rows) = if height > 1 { (1, height - 1) } else { (0, height) };
    let count = status.groups.len();
    let first = window(model.group_position(), rows, count);
    // Where not all are seen, it says which.
    let title =
        if count > rows { format!("{}-{} of {count}", first + 1, first + rows) } else { "GROUP".to_owned() };
    let layout = Columns::of(status, &title, model.node_position(), columns);
    let shown = status.groups.iter().enumerate().skip(first).take(rows);
    let mut lines = Vec::new();
    if head == 1 {
        lines.push(header(model, status, &layout, &title, columns));
    }
    let selected = model.group_position();
    lines.extend(shown.map(|(index, group)| {
        let mark = marker(index == selected, model.focus == Focus::Groups);
        row(status, group, &layout, mark, index == selected, now, columns)
    }));
    lines
}

fn header(model: &Model, status: &Status, layout: &Columns, title: &str, columns: usize) -> Line<'static> {
    let mut row = Row::new(columns).pad(2).cell(title, FAINT, layout.group);
    if let Some(active) = layout.active {
        row = row.cell("ACTIVE ON", FAINT, active);
    }
    for (index, (node, columns)) in nodes(status).skip(layout.first).zip(&layout.nodes).enumerate() {
        let selected = layout.first + index == model.node_position() && model.focus == Focus::Nodes;
        let style = if selected { BOLD.add_modifier(Modifier::UNDERLINED) } else { BOLD };
        row = row.cell(node, style, columns - 2);
    }
    row = row.cell_right("FOR", FAINT, FOR);
    if layout.term {
        row = row.cell_right("TERM", FAINT, TERM);
    }
    let hidden = nodes(status).count() - layout.nodes.len();
    if hidden > 0 {
        row = row.text(&format!("+{hidden} nodes"), FAINT);
    } else if row.left() >= WHY {
        row = row.text("WHY", FAINT);
    }
    row.line()
}

fn row(
    status: &Status,
    group: &Group,
    layout: &Columns,
    mark: &str,
    selected: bool,
    now: Now,
    columns: usize,
) -> Line<'static> {
    let name = if selected { BOLD } else { PLAIN };
    let mut row = Row::new(columns).text(mark, BOLD).cell(&group.name, name, layout.group);
    if let Some(active) = layout.active {
        let (holder, style) = group.active_node.as_deref().map_or(("NOBODY", BAD), |holder| (holder, BOLD));
        row = row.cell(holder, style, active);
    }
    for (node, columns) in nodes(status).skip(layout.first).zip(&layout.nodes) {
        let (word, style) = words::seat(seat(status, group, node));
        row = row.cell(&word, style, columns - 2);
    }
    row = row.cell_right(&since(&group.since, now.wall).unwrap_or_default(), FAINT, FOR);
    if layout.term {
        row = row.cell_right(&group.term.to_string(), FAINT, TERM);
    }
    if row.left() >= WHY {
        row = row.text(&group.reason, PLAIN);
    }
    row.line()
}
