//! Strings of a report, made harmless for terminals, pages and files.
//!
//! Those of a recording were scrubbed when they were decoded; a report can also be read from a file, or be
//! built by another program, and the renderers are safe with any.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::evidence::text::scrub;

/// Longest string that a renderer gets, in bytes; longer ones are cut, and say by how much.
const LONGEST: usize = 4096;

/// The same report (or comparison of reports) with every string scrubbed ([`scrub`]) and none longer than some 4 KiB, except for
/// histograms, which are decoded and never shown.
///
/// # Errors
/// Serde's, never for a report that [`crate::report::build`] made.
pub fn clean<T: Serialize + DeserializeOwned>(report: &T) -> serde_json::Result<T> {
    let mut value = serde_json::to_value(report)?;
    clean_value(&mut value);
    serde_json::from_value(value)
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(values) => values.iter_mut().for_each(clean_value),
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "hdr").for_each(|(_, value)| clean_value(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn clean_text(text: &mut String) {
    let total = text.len();
    // A replacement character is longer than what it replaces: room for it all, then the cut.
    let mut kept =
        scrub(text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default().as_bytes(), usize::MAX);
    if total > LONGEST {
        kept += &format!("... (+{} bytes)", total - text.floor_char_boundary(LONGEST));
    }
    *text = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        let mut text = text.to_owned();
        clean_text(&mut text);
        text
    }

    #[test]
    fn hostile_text_is_harmless_and_long_text_says_what_is_gone() {
        assert_eq!(cleaned("plain"), "plain");
        assert_eq!(cleaned("\x1b]0;x\x07\u{202e}"), "\u{fffd}]0;x\u{fffd}\u{fffd}");
        let long = cleaned(&"\u{fc}".repeat(1 << 20));
        assert!(long.ends_with(&format!("... (+{} bytes)", (2 << 20) - LONGEST)), "{}", long.len());
        assert!(long.len() < LONGEST + 64);
        assert!(cleaned(&"\x01".repeat(LONGEST)).len() <= 3 * LONGEST);
    }
}
