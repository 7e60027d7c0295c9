//! Points in time that a VMM names: one `trace_marker` line each, written by `profiler_mark`.

use serde::Deserialize;

use super::text::scrub;

const PREFIX: &str = "blackout:M:";
/// Bytes of a name that are kept.
const MAX_BYTES: usize = 128;

/// A point in time that a VMM named with `blackout mark NAME`, and a reading of `CLOCK_MONOTONIC` there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
    #[serde(default)]
    pub vm: Option<String>,
    /// Its name, scrubbed; at most 128 bytes, never empty.
    pub name: String,
}

impl Mark {
    /// The mark with its names made fit; `None` if nothing is left of its name.
    fn fit(mut self) -> Option<Self> {
        self.name = fit(&self.name)?;
        self.vm = self.vm.as_deref().and_then(fit);
        Some(self)
    }

    /// Reads a line of a trace; `None` if it is not a mark.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str::<Self>(line.strip_prefix(PREFIX)?).ok()?.fit()
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
    use profiler_mark::MarkLine;
    use proptest::prelude::*;

    fn line(name: &str, vm: Option<&str>) -> Option<String> {
        MarkLine { tsc: 7, monotonic_ns: 8, tsc_after: 9, pid: 10, vm, name }.encode()
    }

    #[test]
    fn names_are_scrubbed() {
        let read = Mark::parse(&line(" pause\x1b[2J ", Some(" ")).unwrap());
        let name = "pause\u{fffd}[2J".to_owned();
        assert_eq!(read, Some(Mark { tsc: 7, monotonic_ns: 8, tsc_after: 9, pid: 10, vm: None, name }));
        let evil = r#"blackout:M:{"tsc":7,"monotonic_ns":8,"tsc_after":9,"pid":1,"vm":"a\u001b","name":"b"}"#;
        assert_eq!(Mark::parse(evil).unwrap().vm.as_deref(), Some("a\u{fffd}"));
        for line in ["blackout:M:", "blackout:M:12:x", r#"blackout:M:{"tsc":1,"name":"x"}"#, "blackout:A:1"] {
            assert_eq!(Mark::parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(name: String, vm: Option<String>) {
            if let Some(line) = line(&name, vm.as_deref()) {
                prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                let mark = Mark::parse(&line).unwrap();
                // What the reader keeps is what it would keep of the name itself.
                prop_assert_eq!(Some(mark.name), fit(&name));
                prop_assert_eq!(mark.vm, vm.as_deref().and_then(fit));
            }
        }

        #[test]
        fn any_line_is_a_mark_or_nothing(line: String) {
            let _ = (Mark::parse(&line), Mark::parse(&format!("{PREFIX}{line}")));
        }
    }
}
