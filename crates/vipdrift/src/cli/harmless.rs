//! Text of others, made harmless for a terminal: what a check's program prints may hold anything.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Stands for a character that is not shown.
const HIDDEN: char = '?';

/// What was said, with every text in it made harmless.
///
/// # Errors
/// In a sentence, if it cannot be read back: then it was not what it seemed.
pub(super) fn of<T: Serialize + DeserializeOwned>(said: &T) -> Result<T, String> {
    let not_understood = |error: serde_json::Error| format!("not understood: {error}");
    let mut value = serde_json::to_value(said).map_err(not_understood)?;
    walk(&mut value);
    serde_json::from_value(value).map_err(not_understood)
}

fn walk(value: &mut Value) {
    match value {
        Value::String(said) => *said = text(said),
        Value::Array(parts) => parts.iter_mut().for_each(walk),
        Value::Object(fields) => fields.values_mut().for_each(walk),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One line without anything that a terminal would obey, or that would change the order of what is read.
pub(super) fn text(said: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        _ if c.is_control() => HIDDEN,
        // Marks and overrides of direction, joiners, separators, tags, what could not be read.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => HIDDEN,
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{e0000}'..='\u{e007f}' => HIDDEN,
        _ => c,
    };
    said.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::super::top::examples;
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(text("a\x1b[2Jb\r\nc\td\u{9b}31m"), "a?[2Jb  c d?31m");
        assert_eq!(text("evil\u{202e}txt"), "evil?txt");
        assert_eq!(text("naïve 日本 µs"), "naïve 日本 µs");
    }

    #[test]
    fn every_text_of_a_status_goes_through() {
        let mut status = examples::status();
        let bad = "\x1b]0;x\x07";
        status.groups[0].reason = bad.into();
        status.groups[0].checks[0].output = bad.into();
        status.health.reasons = vec![bad.into()];
        status.peers[0].node = bad.into();
        status.daemon.real_time = bad.into();
        let shown = serde_json::to_string(&of(&status).expect("read back")).expect("JSON");
        assert!(!shown.contains("\\u001b") && !shown.contains("\\u0007"), "{shown}");
        assert_eq!(shown.matches("?]0;x?").count(), 5);
        assert_eq!(of(&examples::status()), Ok(examples::status()));
    }
}
