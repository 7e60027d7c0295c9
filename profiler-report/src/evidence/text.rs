//! Scrubbing of text that a kernel, a task or a guest chose.
//!
//! Such text ends up on terminals, in HTML and in CI logs. It is made harmless here, once, when it is
//! decoded; nothing downstream has to think of it again.

use std::fmt::Write;

/// Turns bytes into text of at most `max_bytes` bytes that cannot steer a terminal or reorder a line.
///
/// Invalid UTF-8, control characters (C0, DEL, C1), bidirectional controls, zero-width and other
/// invisible characters become U+FFFD; tab and newline become a space. Printable ASCII stays as it is.
pub fn scrub(bytes: &[u8], max_bytes: usize) -> String {
    let mut out = String::with_capacity(bytes.len().min(max_bytes));
    for chunk in bytes.utf8_chunks() {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for c in chunk.valid().chars().map(harmless).chain(invalid) {
            if out.len() + c.len_utf8() > max_bytes {
                return out;
            }
            out.push(c);
        }
    }
    out
}

/// As [`scrub`], up to the first NUL byte: a C string in a field of fixed size.
pub fn scrub_c_string(bytes: &[u8], max_bytes: usize) -> String {
    scrub(bytes.split(|&b| b == 0).next().unwrap_or_default(), max_bytes)
}

/// Writes `text`, which must be JSON, with every character outside printable ASCII as `\uXXXX`.
///
/// JSON has such characters only inside strings, so the value stays the same and survives [`scrub`].
pub(crate) fn ascii_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' '..='~') {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

fn harmless(c: char) -> char {
    match c {
        '\t' | '\n' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        // Soft hyphen; Arabic letter mark; zero width, LRM, RLM; line and paragraph separators and
        // bidi embeddings; word joiner, invisible operators, bidi isolates; BOM; interlinear
        // annotations; tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_overrides_are_gone() {
        assert_eq!(scrub(b"\x1b[31mred\x07\x7f", 99), "\u{fffd}[31mred\u{fffd}\u{fffd}");
        assert_eq!(
            scrub("a\u{202e}b\u{2066}c\u{200b}d\u{9b}".as_bytes(), 99),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
        );
        assert_eq!(scrub(b"bad \xff\xfe utf-8\r", 99), "bad \u{fffd}\u{fffd} utf-8\u{fffd}");
        assert_eq!(scrub(b"two\n\tlines", 99), "two  lines");
        assert_eq!(scrub("f\u{fc}r \u{1f600}".as_bytes(), 99), "f\u{fc}r \u{1f600}");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(scrub("a\u{fc}b".as_bytes(), 2), "a");
        assert_eq!(scrub("a\u{fc}b".as_bytes(), 3), "a\u{fc}");
        assert_eq!(scrub_c_string(b"kexec\0junk", 99), "kexec");
    }

    proptest! {
        #[test]
        fn is_bounded_idempotent_and_clean(bytes in proptest::collection::vec(any::<u8>(), 0..300), max in 0usize..300) {
            let text = scrub(&bytes, max);
            prop_assert!(text.len() <= max);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(scrub(text.as_bytes(), max), text);
        }

        #[test]
        fn ascii_json_keeps_the_value(text in any::<String>()) {
            let json = ascii_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(json.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(scrub(json.as_bytes(), json.len()), json.clone());
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
