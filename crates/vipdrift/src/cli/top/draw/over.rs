//! What lies over the view: the choice of an heir, and the help.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget as _};

use super::super::model::{Dialog, Model, seat};
use super::nodes::marker;
use super::paper::{Row, width, window};
use super::words::{self, BOLD, FAINT, PLAIN};

/// What the keys do, and what the words mean.
pub(crate) const HELP: [(&str, &str); 18] = [
    ("↑ ↓  k j", "select a group; after Tab, a node"),
    ("Tab", "from groups to nodes and back"),
    ("PgUp PgDn", "ten further; Home, End: to the ends"),
    ("s", "move the selected group: choose its heir"),
    ("d  u", "drain, undrain the selected node"),
    ("y", "confirms; any other key cancels"),
    ("q  Esc", "quit; Ctrl-C too"),
    ("", ""),
    ("ACTIVE", "holds the group's VIPs"),
    ("standby", "ready to take them"),
    ("demoted", "standby, but comes last: a check fails"),
    ("claiming", "is taking them now"),
    ("FAULT", "cannot take them; its node says why"),
    ("drained", "an operator took the node out"),
    ("(active)", "said last by a node that is not heard now"),
    ("FOR, WHY", "how long this node has its role, and why"),
    ("HEARS US", "the peer says that it hears this node"),
    ("MISSED", "heartbeats in a row that did not come"),
];

/// Draws it, if there is any.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    match &model.dialog {
        Dialog::None | Dialog::Confirm(_) => {}
        Dialog::Help(from) => {
            let lines = HELP.map(|(key, what)| {
                Row::new(usize::from(u16::MAX)).cell(key, BOLD, 9).text(what, PLAIN).line()
            });
            put(frame, " Help ", lines.into(), |_| *from);
        }
        Dialog::Heir { group, choices, chosen } => {
            let name = |choice: &Option<String>| choice.clone().unwrap_or_else(|| "next".to_owned());
            let widest = choices.iter().flatten().map(|node| width(node)).max().unwrap_or(0).max(4);
            let lines = choices.iter().enumerate().map(|(index, choice)| {
                let digit = if index < 10 { index.to_string() } else { " ".to_owned() };
                let style = if index == *chosen { BOLD } else { PLAIN };
                let row = Row::new(usize::from(u16::MAX))
                    .text(marker(index == *chosen, true), BOLD)
                    .cell(&digit, FAINT, 1)
                    .cell(&name(choice), style, widest);
                let role = choice.as_ref().and_then(|node| {
                    let status = model.last()?;
                    let group = status.groups.iter().find(|known| known.name == *group)?;
                    Some(words::seat(seat(status, group, node)))
                });
                let (word, style) = role.unwrap_or_else(|| ("the next healthy node".to_owned(), PLAIN));
                row.text(&word, style).line()
            });
            let first = |height| window(*chosen, height, choices.len());
            put(frame, &format!(" Move {group} to "), lines.collect(), first);
        }
    }
}

/// A box in the middle, as large as it needs to be and can be, between the title and the keys. `first` tells which line
/// comes first if there is room for so many.
fn put(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'static>>, first: impl Fn(usize) -> usize) {
    let whole = frame.area();
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(width(title));
    let columns = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(whole.width);
    let room = whole.height.saturating_sub(2);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(room);
    let area = Rect {
        x: whole.x + (whole.width - columns) / 2,
        y: whole.y + 1 + (room - height) / 2,
        width: columns,
        height,
    };
    if height < 3 {
        return;
    }
    Clear.render(area, frame.buffer_mut());
    let rows = usize::from(height.saturating_sub(2));
    let first = first(rows).min(lines.len().saturating_sub(rows));
    let mut block = Block::bordered().title(Line::from(title.to_owned()).style(BOLD));
    if rows < lines.len() {
        // Where not all are seen, it says which.
        let seen = format!(" {}-{} of {} ", first + 1, first + rows, lines.len());
        block = block.title_bottom(Line::from(seen).style(FAINT));
    }
    let inner = block.inner(area);
    block.render(area, frame.buffer_mut());
    for (line, y) in lines.iter().skip(first).zip(inner.y..inner.bottom()) {
        frame.buffer_mut().set_line(inner.x + 1, y, line, inner.width.saturating_sub(2));
    }
}
