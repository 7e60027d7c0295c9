//! What the programs themselves took, as they measured it.
//!
//! ```text
//! !SEQ KIND RUNS SAMPLES NS       outgoing, at machine_kexec: one kind of program
//! ```
//! All numbers are hexadecimal, `SEQ` is that of [`crate::record`]. `SAMPLES` of the `RUNS` timed themselves and took
//! `NS` nanoseconds together. They do it themselves because that works up to `machine_kexec`, with no process alive,
//! and changes nothing for other people's programs, as the kernel's statistics (`BPF_ENABLE_STATS`) would.

/// Format of a cost for `bpf_trace_vprintk`, NUL-terminated.
pub const COST_FORMAT: [u8; 26] = *b"!%llx %llx %llx %llx %llx\0";

/// `KIND`: entry and return of functions, with a record each. All time themselves.
pub const CALLS: u64 = 0;
/// `KIND`: entries and exits of vCPUs.
pub const VCPUS: u64 = 1;
/// `KIND`: functions that are counted; `RUNS` is not kept apart from their calls and is 0.
pub const HOT: u64 = 2;

/// Programs that run often time themselves if these bits of the clock are 0 when they begin.
pub const SAMPLE_MASK: u64 = 0x3f << 1;

/// One parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostRecord {
    /// Sequence number.
    pub seq: u64,
    /// Which programs.
    pub kind: u64,
    /// How often they ran.
    pub runs: u64,
    /// How many of the runs were timed.
    pub samples: u64,
    /// What those took together, nanoseconds.
    pub ns: u64,
}

impl CostRecord {
    /// Parses one line; `None` if it is not one of these.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let mut fields = line.strip_prefix('!')?.split(' ');
        let mut word = || crate::record::hex(fields.next()?);
        let record = Self { seq: word()?, kind: word()?, runs: word()?, samples: word()?, ns: word()? };
        fields.next().is_none().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String};

    #[test]
    fn the_format_takes_a_word_a_field() {
        let text = core::ffi::CStr::from_bytes_with_nul(&COST_FORMAT).unwrap().to_str().unwrap();
        assert_eq!(text.matches("%llx").count(), 5);
    }

    proptest! {
        #[test]
        fn records_round_trip(words: [u64; 5]) {
            let [seq, kind, runs, samples, ns] = words;
            let record = CostRecord { seq, kind, runs, samples, ns };
            let line = format!("!{seq:x} {kind:x} {runs:x} {samples:x} {ns:x}\n");
            prop_assert_eq!(CostRecord::parse(&line), Some(record));
            prop_assert_eq!(CostRecord::parse(&line[..line.len() - 2].replace(' ', "  ")), None);
        }

        #[test]
        fn any_text_is_a_value_or_nothing(line: String) {
            let _ = CostRecord::parse(&line);
        }
    }
}
