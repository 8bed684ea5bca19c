//! Lines that fit: what is too long ends with an ellipsis, and columns stay columns.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text in no more than so many columns; where something is left out, an ellipsis says so.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for part in Span::raw(text).styled_graphemes(Style::new()) {
        used += width(part.symbol);
        if used > columns {
            break;
        }
        cut.push_str(part.symbol);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// The text in lines of so many columns, broken between words; at most `most` lines, the last one cut.
pub(super) fn wrap(text: &str, columns: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && lines.len() < most {
        if lines.len() + 1 == most || width(rest) <= columns {
            lines.push(fit(rest, columns));
            break;
        }
        let mut end = 0;
        for (position, _) in rest.match_indices(' ').filter(|(position, _)| *position > 0) {
            if width(&rest[..position]) > columns {
                break;
            }
            end = position;
        }
        if end == 0 {
            // A word that is longer than a line.
            lines.push(fit(rest, columns));
            break;
        }
        lines.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    lines
}

/// A line that is written from left to right, in so many columns.
pub(super) struct Row {
    spans: Vec<Span<'static>>,
    left: usize,
}

impl Row {
    pub(super) fn new(columns: usize) -> Self {
        Self { spans: Vec::new(), left: columns }
    }

    /// Writes as much as there is room for.
    pub(super) fn text(mut self, text: &str, style: Style) -> Self {
        let shown = fit(text, self.left);
        self.left = self.left.saturating_sub(width(&shown));
        self.spans.push(Span::styled(shown, style));
        self
    }

    /// Writes into a column and leaves two free after it.
    pub(super) fn cell(self, text: &str, style: Style, columns: usize) -> Self {
        let shown = fit(text, columns);
        let pad = columns.saturating_sub(width(&shown)) + 2;
        self.text(&shown, style).pad(pad)
    }

    /// The same, flush right.
    pub(super) fn cell_right(self, text: &str, style: Style, columns: usize) -> Self {
        let shown = fit(text, columns);
        let pad = columns.saturating_sub(width(&shown));
        self.pad(pad).text(&shown, style).pad(2)
    }

    pub(super) fn pad(mut self, columns: usize) -> Self {
        let columns = columns.min(self.left);
        self.left -= columns;
        self.spans.push(Span::raw(" ".repeat(columns)));
        self
    }

    /// Columns that are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }
}

/// First of `height` rows out of `length` that are shown, so that the selected one is among them, in the middle where
/// it can be.
pub(super) fn window(selected: usize, height: usize, length: usize) -> usize {
    selected.saturating_sub(height / 2).min(length.saturating_sub(height))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_too_long_says_so() {
        assert_eq!(fit("charlie", 7), "charlie");
        assert_eq!(fit("charlie", 6), "charl…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!((fit("abc", 1), fit("abc", 0)), ("…".to_owned(), String::new()));
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 7, 2), ["one two", "three …"]);
        assert_eq!(wrap("incomprehensible", 7, 3), ["incomp…"]);
        assert_eq!(wrap("", 7, 3), Vec::<String>::new());
    }

    #[test]
    fn cells_are_columns() {
        let plain = Style::new();
        let line =
            Row::new(20).cell("ab", plain, 4).cell_right("7", plain, 3).text("rest is long", plain).line();
        assert_eq!(line.to_string(), "ab      7  rest is …");
    }

    #[test]
    fn windows() {
        assert_eq!((window(0, 5, 100), window(50, 5, 100), window(99, 5, 100)), (0, 48, 95));
        assert_eq!((window(1, 5, 3), window(0, 0, 0)), (0, 0));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_too_long(text in any::<String>(), columns in 0usize..40, most in 1usize..5) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            let lines = wrap(&text, columns, most);
            prop_assert!(lines.len() <= most);
            prop_assert!(lines.iter().all(|line| width(line) <= columns));
        }
    }
}
