//! Points in time that a VMM names: one `trace_marker` line each, `blackout:M:` and a JSON object.

use serde::{Deserialize, Serialize};

use super::text::{ascii_json, scrub};

const PREFIX: &str = "blackout:M:";
/// Bytes of a name that are kept.
const MAX_BYTES: usize = 128;

/// A point in time that a VMM named with `blackout mark NAME`, and a reading of `CLOCK_MONOTONIC` there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// TSC before the other readings, ticks: when the mark was made.
    pub tsc: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// TSC after that, ticks.
    pub tsc_after: u64,
    /// Process (thread group) that it is about: the VMM.
    pub pid: u32,
    /// Name of the guest, scrubbed; never empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Its name, scrubbed; at most 128 bytes, never empty.
    pub name: String,
}

impl Mark {
    /// The mark with its names made fit; `None` if nothing is left of its name.
    pub fn fit(mut self) -> Option<Self> {
        self.name = fit(&self.name)?;
        self.vm = self.vm.as_deref().and_then(fit);
        Some(self)
    }

    /// Reads a line of a trace; `None` if it is not a mark.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str::<Self>(line.strip_prefix(PREFIX)?).ok()?.fit()
    }

    /// The line of a trace.
    ///
    /// # Errors
    /// None that is known: plain numbers and strings are JSON.
    pub fn line(&self) -> serde_json::Result<String> {
        Ok(format!("{PREFIX}{}", ascii_json(&serde_json::to_string(self)?)))
    }
}

fn fit(name: &str) -> Option<String> {
    let name = scrub(name.trim().as_bytes(), MAX_BYTES);
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(name: &str, vm: Option<&str>) -> Mark {
        let vm = vm.map(str::to_owned);
        Mark { tsc: 7, monotonic_ns: 8, tsc_after: 9, pid: 10, vm, name: name.to_owned() }
    }

    #[test]
    fn names_are_scrubbed() {
        let mark = mark(" pause\x1b[2J ", Some(" ")).fit().unwrap();
        let line = mark.line().unwrap();
        let expected =
            r#"blackout:M:{"tsc":7,"monotonic_ns":8,"tsc_after":9,"pid":10,"name":"pause\ufffd[2J"}"#;
        assert_eq!(line, expected);
        assert_eq!(Mark::parse(&line), Some(mark));
        let evil = r#"blackout:M:{"tsc":7,"monotonic_ns":8,"tsc_after":9,"pid":1,"vm":"a\u001b","name":"b"}"#;
        assert_eq!(Mark::parse(evil).unwrap().vm.as_deref(), Some("a\u{fffd}"));
        for line in ["blackout:M:", "blackout:M:12:x", r#"blackout:M:{"tsc":1,"name":"x"}"#, "blackout:A:1"] {
            assert_eq!(Mark::parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(name: String, vm: Option<String>) {
            if let Some(mark) = mark(&name, vm.as_deref()).fit() {
                prop_assert!(mark.name.len() <= MAX_BYTES);
                prop_assert_eq!(Mark::parse(&mark.line().unwrap()), Some(mark));
            }
        }

        #[test]
        fn any_line_is_a_mark_or_nothing(line: String) {
            let _ = (Mark::parse(&line), Mark::parse(&format!("{PREFIX}{line}")));
        }
    }
}
