//! What a look has found.

use serde::{Deserialize, Serialize};

/// Output that is kept, in bytes: the end of it, where programs say what is wrong.
pub(crate) const KEPT: usize = 2048;

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// All is well.
    pub good: bool,
    /// What was found, in a line.
    pub summary: String,
    /// What the program or the server said, cut to its last two kilobytes.
    pub output: String,
}

impl Outcome {
    pub(crate) fn good(summary: impl Into<String>) -> Self {
        Self { good: true, summary: summary.into(), output: String::new() }
    }

    pub(crate) fn bad(summary: impl Into<String>) -> Self {
        Self { good: false, summary: summary.into(), output: String::new() }
    }

    pub(crate) fn with(mut self, output: &[u8]) -> Self {
        self.output = tail(output);
        self
    }
}

/// The end of what was said, as text without control characters but line ends and tabs.
fn tail(output: &[u8]) -> String {
    let end = &output[output.len().saturating_sub(KEPT)..];
    let text = String::from_utf8_lossy(end);
    let clean =
        text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c });
    let mut text: String = clean.collect();
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_harmless() {
        let long = [b'a'; 10_000];
        assert_eq!(Outcome::bad("x").with(&long).output.len(), KEPT);
        assert_eq!(Outcome::bad("x").with(b"one\ntwo\x1b[2J\xff\n\n").output, "one\ntwo\u{fffd}[2J\u{fffd}");
    }
}
