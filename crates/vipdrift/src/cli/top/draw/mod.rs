//! The screen as a function of the model: the same model is the same screen.

mod detail;
mod events;
mod foot;
mod groups;
mod head;
mod heights;
mod nodes;
mod over;
mod paper;
#[cfg(test)]
mod tests;
mod words;

use std::time::Instant;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::text::Line;

use super::model::Model;
use heights::Heights;
pub(super) use over::HELP;
use words::FAINT;
pub(super) use words::{span, under_way};

/// When it is: ages are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For what this program saw.
    pub(super) instant: Instant,
    /// For what the daemon wrote down.
    pub(super) wall: Timestamp,
}

/// What the terminal, or its user, can take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Colours are wanted.
    pub(super) colour: bool,
    /// More than ASCII is understood.
    pub(super) unicode: bool,
}

impl Look {
    /// As the environment says: `NO_COLOR` (no-color.org), and the character set of the locale.
    pub(super) fn of_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            colour: set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// Takes away what is not wanted.
    fn apply(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            if !self.colour {
                cell.set_fg(Color::Reset).set_bg(Color::Reset);
            }
            if !self.unicode && !cell.symbol().is_ascii() {
                let plain = match cell.symbol() {
                    "…" => "~",
                    "▸" | "→" => ">",
                    "›" => "-",
                    "✓" => "*",
                    "µ" => "u",
                    "─" => "-",
                    "│" => "|",
                    "┌" | "┐" | "└" | "┘" => "+",
                    "↑" => "^",
                    "↓" => "v",
                    _ => "?",
                };
                cell.set_symbol(plain);
            }
        }
    }
}

/// Draws everything.
pub(super) fn draw(model: &Model, now: Now, look: Look, frame: &mut Frame<'_>) {
    let area = frame.area();
    let columns = usize::from(area.width);
    let message = foot::message(model, now, columns);
    let mut detail = detail::lines(model, now, columns, false);
    let verdict = head::verdict(model, now, columns);
    let daemon = head::daemon(model, columns);
    let status = model.last();
    let wants = Heights {
        title: 1,
        daemon: daemon.len(),
        verdict: verdict.len(),
        groups: status.map_or(0, |status| status.groups.len() + 1),
        detail: detail.len(),
        nodes: status.map_or(0, |status| status.peers.len() + 2),
        events: events::wanted(model),
        message: message.len(),
        keys: 1,
        gaps: [1; 5],
    };
    let given = Heights::deal(usize::from(area.height), &wants);

    if given.detail == 1 {
        detail = detail::lines(model, now, columns, true);
    }

    let mut page = Page { buffer: frame.buffer_mut(), area, y: 0 };
    page.write(head::title(model, now, columns), given.title);
    page.write(daemon, given.daemon);
    page.skip(given.gaps[0]);
    page.write(head::cut(verdict, given.verdict, columns), given.verdict);
    page.skip(given.gaps[1]);
    let body = page.y;
    page.write(groups::lines(model, now, columns, given.groups), given.groups);
    page.skip(given.gaps[2]);
    page.write(detail, given.detail);
    page.skip(given.gaps[3]);
    page.write(nodes::lines(model, columns, given.nodes), given.nodes);
    page.skip(given.gaps[4]);
    page.write(events::lines(model, now, columns, given.events), given.events);
    if model.lost.is_some() {
        // Nothing of it is of now.
        let body = Rect { y: area.y + body.min(area.height), height: page.y.saturating_sub(body), ..area };
        page.buffer.set_style(body.intersection(area), FAINT);
    }
    page.skip(usize::from(area.height).saturating_sub(given.sum()));
    page.write(message, given.message);
    page.write(vec![foot::keys(model, columns)], given.keys);

    over::draw(model, frame);
    look.apply(frame.buffer_mut());
}

/// The screen, written from top to bottom.
struct Page<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    y: u16,
}

impl Page<'_> {
    /// Writes lines into a part of so many.
    fn write(&mut self, lines: Vec<Line<'static>>, height: usize) {
        for (line, y) in lines.iter().take(height).zip(self.area.y + self.y..) {
            self.buffer.set_line(self.area.x, y, line, self.area.width);
        }
        self.skip(height);
    }

    fn skip(&mut self, height: usize) {
        self.y = self.y.saturating_add(u16::try_from(height).unwrap_or(u16::MAX));
    }
}
