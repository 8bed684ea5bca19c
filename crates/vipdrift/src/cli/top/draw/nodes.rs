//! The nodes: this one, and the peers as it hears them.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::Line;
use vipdrift_control::{Peer, PeerConfiguration, PeerState, Status};

use super::super::model::{Focus, Model, held, is_heard};
use super::paper::{Row, width, window};
use super::words::{BAD, BOLD, FAINT, PLAIN, health, micros, peer as state, span};

/// Longest name that is shown whole.
const NAME: usize = 20;

/// Columns, each with its rank when there is no room for all, and whether it is flush right.
const COLUMNS: [(&str, usize, bool); 8] = [
    ("NODE", 0, false),
    ("STATE", 1, false),
    ("HEARS US", 2, false),
    ("ROUND TRIP", 5, true),
    ("HEARD", 3, true),
    ("MISSED", 6, true),
    ("CONFIG", 4, false),
    ("HOLDS", 7, true),
];

type Cells = [(String, Style); 8];

/// Points at what is selected.
pub(super) fn marker(selected: bool, focused: bool) -> &'static str {
    match (selected, focused) {
        (true, true) => "▸ ",
        (true, false) => "› ",
        (false, _) => "  ",
    }
}

/// The table, in so many lines.
pub(super) fn lines(model: &Model, columns: usize, height: usize) -> Vec<Line<'static>> {
    let Some(status) = model.last() else { return Vec::new() };
    let all: Vec<Cells> =
        std::iter::once(own(status)).chain(status.peers.iter().map(|peer| other(status, peer))).collect();
    let (head, rows) = if height > 1 { (1, height - 1) } else { (0, height) };
    let selected = model.node_position();
    let first = window(selected, rows, all.len());

    let widths: [usize; 8] = std::array::from_fn(|column| {
        let widest = all.iter().map(|cells| width(&cells[column].0)).max().unwrap_or(0);
        let widest = if column == 0 { widest.min(NAME) } else { widest };
        widest.max(COLUMNS[column].0.len())
    });
    // By rank, for as long as there is room.
    let mut shown = [false; 8];
    let mut left = columns.saturating_sub(2);
    for rank in 0..COLUMNS.len() {
        let Some(column) = COLUMNS.iter().position(|&(_, known, _)| known == rank) else { continue };
        if widths[column] > left {
            break;
        }
        shown[column] = true;
        left = left.saturating_sub(widths[column] + 2);
    }
    let write = |mark: &str, cells: [(&str, Style); 8]| {
        let mut row = Row::new(columns).text(mark, BOLD);
        for (column, (text, style)) in cells.into_iter().enumerate().filter(|(column, _)| shown[*column]) {
            row = match COLUMNS[column].2 {
                true => row.cell_right(text, style, widths[column]),
                false => row.cell(text, style, widths[column]),
            };
        }
        row.line()
    };

    let mut lines = Vec::new();
    if head == 1 {
        let hidden = all.len() > rows;
        let title = format!("{}-{} of {}", first + 1, first + rows, all.len());
        let mut titles = COLUMNS.map(|(title, _, _)| (title, FAINT));
        if hidden {
            titles[0].0 = &title;
        }
        lines.push(write("  ", titles));
    }
    lines.extend(all.iter().enumerate().skip(first).take(rows).map(|(index, cells)| {
        let mark = marker(index == selected, model.focus == Focus::Nodes);
        let mut cells = cells.each_ref().map(|(text, style)| (text.as_str(), *style));
        if index == selected && model.focus == Focus::Nodes {
            cells[0].1 = BOLD;
        }
        write(mark, cells)
    }));
    lines
}

fn own(status: &Status) -> Cells {
    let (word, style) = health(status.health.state);
    let faint = |text: &str| (text.to_owned(), FAINT);
    [
        (status.node.clone(), PLAIN),
        (word.to_owned(), style),
        faint("this node"),
        faint(""),
        faint(""),
        faint(""),
        faint(""),
        holds(status, &status.node),
    ]
}

fn other(status: &Status, peer: &Peer) -> Cells {
    let heard = is_heard(peer);
    let nothing = || ("-".to_owned(), FAINT);
    [
        (peer.node.clone(), PLAIN),
        state(peer),
        match (heard, peer.hears_us) {
            // What it hears is known only while it is heard itself.
            (false, _) => nothing(),
            (true, true) => ("yes".to_owned(), PLAIN),
            (true, false) => ("NO".to_owned(), BAD),
        },
        peer.rtt_us.map_or_else(nothing, |us| (micros(us), PLAIN)),
        match (peer.heard_ms_ago, peer.state) {
            (None, _) => ("never".to_owned(), FAINT),
            (Some(_), PeerState::Alive) => ("now".to_owned(), PLAIN),
            (Some(ms), _) => (format!("{} ago", span(Duration::from_millis(ms))), PLAIN),
        },
        (peer.missed.to_string(), if peer.missed > 0 { PLAIN } else { FAINT }),
        match peer.config {
            PeerConfiguration::Same => ("same".to_owned(), PLAIN),
            PeerConfiguration::Different => ("DIFFERENT".to_owned(), BAD),
            PeerConfiguration::Unknown => ("unknown".to_owned(), FAINT),
        },
        if heard { holds(status, &peer.node) } else { nothing() },
    ]
}

fn holds(status: &Status, node: &str) -> (String, Style) {
    let count = held(status, node).count();
    (count.to_string(), if count > 0 { PLAIN } else { FAINT })
}
