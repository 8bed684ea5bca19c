//! What is wrong with a configuration, shown at its place.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// Where, in bytes of the file; `None` when it is about the file as a whole.
    at: Option<Range<usize>>,
    title: String,
    label: String,
    /// A second place that belongs to it.
    other: Option<(Range<usize>, String)>,
    help: Option<String>,
}

impl Problem {
    /// A problem at `at`: `title` says what is wrong, `label` is written beneath the text itself.
    pub(crate) fn at(at: Range<usize>, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self { at: Some(at), title: title.into(), label: label.into(), other: None, help: None }
    }

    /// A problem of the whole file.
    pub(crate) fn whole(title: impl Into<String>) -> Self {
        Self { at: None, title: title.into(), label: String::new(), other: None, help: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub(crate) fn beside(mut self, at: Range<usize>, label: impl Into<String>) -> Self {
        self.other = Some((at, label.into()));
        self
    }
}

/// Collects problems, so that one reading of a file reports all of them.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Everything found, in the order of the file, ready to be shown.
    pub(crate) fn into_refused(self, file: &str, text: &str) -> Refused {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|p| p.at.as_ref().map_or(0, |at| at.start));
        Refused { text: render(file, text, &problems), count: problems.len() }
    }
}

/// A configuration was refused: every problem, rendered for people.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refused {
    text: String,
    /// How many problems there are.
    pub(crate) count: usize,
}

impl Refused {
    /// A file that cannot even be read.
    pub(crate) fn unreadable(file: &str, reason: &str, help: Option<&str>) -> Self {
        let mut problem = Problem::whole(format!("cannot read the configuration {file}: {reason}"));
        if let Some(help) = help {
            problem = problem.help(help);
        }
        Self { text: render(file, "", &[problem]), count: 1 }
    }
}

fn render(file: &str, text: &str, problems: &[Problem]) -> String {
    /// More than this many at once helps nobody.
    const SHOWN: usize = 12;
    let source = mask_secrets(text);
    let renderer = Renderer::plain();
    let mut out = String::new();
    for (i, problem) in problems.iter().take(SHOWN).enumerate() {
        if i > 0 {
            out.push_str("\n\n");
        }
        let Some(at) = &problem.at else {
            // Nothing to quote: the same layout without the frame.
            let _ = write!(out, "error: {}", problem.title);
            if !text.is_empty() {
                let _ = write!(out, "\n --> {file}");
            }
            if let Some(help) = &problem.help {
                let _ = write!(out, "\n  = help: {help}");
            }
            continue;
        };
        let mut snippet = Snippet::source(source.as_str())
            .path(file)
            .annotation(AnnotationKind::Primary.span(clamp(at, &source)).label(problem.label.as_str()));
        if let Some((other, label)) = &problem.other {
            let span = clamp(other, &source);
            snippet = snippet.annotation(AnnotationKind::Context.span(span).label(label.as_str()));
        }
        let mut group =
            Group::with_title(Level::ERROR.primary_title(problem.title.as_str())).element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
    }
    if problems.len() > SHOWN {
        let _ = write!(out, "\n\nand {} more", problems.len() - SHOWN);
    }
    out
}

/// A span inside `source`, never empty where there is a character to point at, never past a line's end.
fn clamp(at: &Range<usize>, source: &str) -> Range<usize> {
    let start = at.start.min(source.len());
    let mut end = at.end.clamp(start, source.len());
    if let Some(newline) = source[start..end].find('\n') {
        end = start + newline;
    }
    if end == start && source[start..].chars().next().is_some_and(|c| c != '\n') {
        end += source[start..].chars().next().map_or(0, char::len_utf8);
    }
    start..end
}

/// The text with the values of `key` and `previous_key` starred out, byte for byte, so that an error message can
/// be pasted into a bug report; and whatever else looks like a key. Works on text that does not parse.
fn mask_secrets(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = text[from..].find("key") {
        let start = from + found;
        from = start + 3;
        let before = text[..start].chars().next_back();
        let named =
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_') || text[..start].ends_with("previous_");
        let rest = text[from..].trim_start_matches(['"', '\'', ' ', '\t']);
        let Some(value) = rest.strip_prefix('=').filter(|_| named) else { continue };
        let value_at = text.len() - value.len();
        let end = value_at + value_len(value);
        for byte in &mut bytes[value_at..end] {
            if !byte.is_ascii() || byte.is_ascii_alphanumeric() {
                *byte = b'*';
            }
        }
        from = end;
    }
    for run in bytes.chunk_by_mut(|a, b| a.is_ascii_hexdigit() && b.is_ascii_hexdigit()) {
        if run.len() >= KEY_LIKE {
            run.fill(b'*');
        }
    }
    // Only whole lines' worth of non-ASCII characters become stars, so this is still UTF-8.
    String::from_utf8(bytes).unwrap_or_default()
}

/// So many hexadecimal digits in a row are not an address, a number or a word: half of the shortest key.
const KEY_LIKE: usize = 16;

/// How much of `value`, which begins behind `=`, belongs to the value: the line, or all lines of a string of several.
fn value_len(value: &str) -> usize {
    let trimmed = value.trim_start_matches([' ', '\t']);
    let begin = value.len() - trimmed.len() + 3;
    let quotes = ["\"\"\"", "'''"].into_iter().find(|quotes| trimmed.starts_with(quotes));
    let closed = quotes.map_or(0, |quotes| value[begin..].find(quotes).map_or(value.len(), |at| begin + at));
    closed + value[closed..].find('\n').unwrap_or(value.len() - closed)
}

/// The known word nearest to `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|k| (k, strsim::damerau_levenshtein(&word.to_lowercase(), &k.to_lowercase())))
        .filter(|(k, distance)| *distance <= 1.max(k.chars().count().max(word.chars().count()) / 3))
        .min_by_key(|(_, distance)| *distance)
        .map(|(k, _)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_byte_for_byte_and_nothing_else_is() {
        let text = "key = \"00ff\"\nkey_file = \"/k\"\nprevious_key='ab'\nmonkey = \"x\"\n\"key\" = \"é1\"\nheartbeat";
        let masked = mask_secrets(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(
            masked,
            "key = \"****\"\nkey_file = \"/k\"\nprevious_key='**'\nmonkey = \"x\"\n\"key\" = \"***\"\nheartbeat"
        );
    }

    #[test]
    fn keys_of_several_lines_are_masked_to_their_end() {
        for quotes in ["\"\"\"", "'''"] {
            let text =
                format!("key = {quotes}\n00\nff{quotes} # a\nname = \"edge\"\nkey = {quotes}\nab\n\ncd");
            let masked =
                text.replace("00\nff", "**\n**").replace("# a", "# *").replace("ab\n\ncd", "**\n\n**");
            assert_eq!(mask_secrets(&text), masked);
        }
    }

    #[test]
    fn what_looks_like_a_key_is_masked_wherever_it_stands() {
        let text =
            "\"k\\u0065y\" = [\n  \"00112233445566778899aabbccddeeff\"\n]\nvips = [\"2001:db8::100/64\"]";
        let masked = text.replace("00112233445566778899aabbccddeeff", &"*".repeat(32));
        assert_eq!(mask_secrets(text), masked);
    }

    #[test]
    fn nearest_offers_only_what_could_have_been_meant() {
        let known = ["heartbeat", "dead_after", "lease"];
        assert_eq!(nearest("hartbeat", known), Some("heartbeat"));
        assert_eq!(nearest("deadafter", known), Some("dead_after"));
        assert_eq!(nearest("colour", known), None);
    }
}
