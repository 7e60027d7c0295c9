//! The line of a mark: `blackout:M:` and a JSON object in printable ASCII.

use std::fmt::Write;

/// Longest name that is written, in bytes before escaping. The reader keeps as much. Two such names fit into
/// `trace_marker`, which takes 1 KiB in older kernels.
const MAX_BYTES: usize = 128;

/// One mark, as it is written into the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkLine<'a> {
    /// TSC before the other readings, ticks: the time of the mark.
    pub tsc: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// TSC after that, ticks.
    pub tsc_after: u64,
    /// Process (thread group) of the VMM.
    pub pid: u32,
    /// Name of the guest.
    pub vm: Option<&'a str>,
    /// Name of the mark.
    pub name: &'a str,
}

impl MarkLine<'_> {
    /// Returns the line, with both names trimmed and cut to 128 bytes; `None` if the mark's name is empty.
    pub fn encode(&self) -> Option<String> {
        let name = fit(self.name)?;
        let Self { tsc, monotonic_ns, tsc_after, pid, .. } = self;
        let mut line = format!(
            r#"blackout:M:{{"tsc":{tsc},"monotonic_ns":{monotonic_ns},"tsc_after":{tsc_after},"pid":{pid}"#
        );
        if let Some(vm) = self.vm.and_then(fit) {
            field(&mut line, "vm", &vm);
        }
        field(&mut line, "name", &name);
        line.push('}');
        Some(line)
    }
}

/// Trims a name, replaces control characters and cuts it between two characters; `None` if nothing is left.
fn fit(name: &str) -> Option<String> {
    let mut fit = String::new();
    for c in name.trim().chars() {
        let c = match c {
            '\t' | '\n' => ' ',
            // The reader replaces these, too. After it the name would be shorter, or trimmed at another place.
            '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if fit.len() + c.len_utf8() > MAX_BYTES {
            break;
        }
        fit.push(c);
    }
    (!fit.is_empty()).then_some(fit)
}

/// Appends a string field. What is not printable ASCII is escaped, so that the line is one line and safe to print.
fn field(line: &mut String, key: &str, value: &str) {
    // Writing to a `String` cannot fail.
    let _ = write!(line, r#","{key}":""#);
    for c in value.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            ' '..='~' => line.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, vm: Option<&str>) -> Option<String> {
        MarkLine { tsc: 7, monotonic_ns: 8, tsc_after: 9, pid: 10, vm, name }.encode()
    }

    #[test]
    fn names_are_escaped() {
        let expected = r#"blackout:M:{"tsc":7,"monotonic_ns":8,"tsc_after":9,"pid":10,"vm":"a\"b\\","name":"x\ufffd \ud83d\ude00"}"#;
        assert_eq!(line(" x\x1b\n\u{1f600} ", Some("a\"b\\")).as_deref(), Some(expected));
    }

    #[test]
    fn an_empty_name_is_no_mark_and_an_empty_guest_is_left_out() {
        assert_eq!(line(" \n", Some("vm-7")), None);
        assert_eq!(
            line("x", Some(" ")).as_deref(),
            Some(r#"blackout:M:{"tsc":7,"monotonic_ns":8,"tsc_after":9,"pid":10,"name":"x"}"#)
        );
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let line = line(&"\u{20ac}".repeat(1000), None).unwrap();
        assert_eq!(line.matches("\\u20ac").count(), MAX_BYTES / 3);
    }
}
