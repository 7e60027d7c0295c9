//! Bytes of a stream -> messages. They come from outside: any bytes give messages or are counted as
//! malformed, memory is bounded, and no string steers a terminal.

use profiler_report::{evidence::text::scrub, report::Report};
use serde_json::Value;

use super::message::{MAX_LINE_BYTES, Message};

/// Bytes of a string of a report: the longest are histograms.
const MAX_REPORT_STRING: usize = 64 * 1024;
/// Bytes of any other string.
const MAX_STRING: usize = 256;

/// Cuts bytes into lines and reads them.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
    /// The line under way is too long already: it is skipped up to its end.
    skipping: bool,
    malformed: u64,
}

impl Decoder {
    /// Takes the bytes that came; gives the messages that are whole now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if self.partial.len() + text.len() > MAX_LINE_BYTES {
                self.skipping = true;
            }
            if !self.skipping {
                self.partial.extend_from_slice(text);
            }
            if ends {
                messages.extend(self.line());
            }
        }
        messages
    }

    /// Lines so far that were no message.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.partial);
        let skipped = std::mem::take(&mut self.skipping);
        if !skipped && line.trim_ascii().is_empty() {
            return None;
        }
        let message = if skipped { None } else { parse(&line) };
        self.malformed += u64::from(message.is_none());
        message
    }
}

/// Reads one line; `None` if it is no message.
pub fn parse(line: &[u8]) -> Option<Message> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    let is_report = value.get("type").is_some_and(|kind| kind == "report");
    clean(&mut value, if is_report { MAX_REPORT_STRING } else { MAX_STRING });
    serde_json::from_value(value).ok()
}

/// Reads a report that somebody wrote as JSON; `None` if it is none.
pub fn report(json: &[u8]) -> Option<Report> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    clean(&mut value, MAX_REPORT_STRING);
    serde_json::from_value(value).ok()
}

/// Scrubs every string; serde_json has bounded the depth.
fn clean(value: &mut Value, max_bytes: usize) {
    match value {
        Value::String(text) => *text = scrub(text.as_bytes(), max_bytes),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, max_bytes)),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, field)| clean(field, max_bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_strings_come_out_harmless_and_short() {
        let evil = format!("\u{1b}]0;x\u{7}\u{202e}{}", "A".repeat(1 << 20));
        let line = Message::Bye { reason: evil }.line().unwrap();
        let messages = Decoder::default().feed(line.as_bytes());
        let [Message::Bye { reason }] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(reason.len() <= MAX_STRING && !reason.chars().any(|c| c.is_control() || c == '\u{202e}'));
    }

    #[test]
    fn a_line_that_never_ends_is_skipped_and_the_next_is_read() {
        let mut decoder = Decoder::default();
        for _ in 0..MAX_LINE_BYTES / 1000 + 2 {
            assert!(decoder.feed(&[b'x'; 1000]).is_empty());
            assert!(decoder.partial.capacity() <= 2 * MAX_LINE_BYTES);
        }
        let messages = decoder.feed(b"\n{\"type\":\"bye\",\"reason\":\"r\"}\ngarbage\n\n");
        assert_eq!(messages, [Message::Bye { reason: "r".to_owned() }]);
        assert_eq!(decoder.malformed(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400,
        ) {
            let (mut whole, mut pieces) = (Decoder::default(), Decoder::default());
            let cut = cut.min(bytes.len());
            let at_once = whole.feed(&bytes);
            let mut in_two = pieces.feed(&bytes[..cut]);
            in_two.extend(pieces.feed(&bytes[cut..]));
            prop_assert_eq!(at_once, in_two);
            prop_assert_eq!(whole.malformed(), pieces.malformed());
        }
    }
}
