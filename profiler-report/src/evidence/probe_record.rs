//! Records of blackout's own eBPF programs, out of the text they write with `bpf_trace_vprintk`.
//!
//! The line itself is defined and parsed in [`profiler_common::record`]; here it becomes an owned
//! value that is safe to print.

use profiler_common::record::Record;

use super::text::{scrub, scrub_c_string};
use crate::catalogue::Found;

/// Bytes of a string argument that are kept; the programs read at most 64.
const MAX_NAME: usize = 256;

/// One record of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRecord {
    /// Counts all records of all CPUs since the programs were loaded, from 0, without holes.
    pub seq: u64,
    /// Address of the function; may lie past its `endbr64`.
    pub ip: u64,
    /// Entry or return.
    pub point: ProbeCall,
}

/// What a probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeCall {
    /// The function was entered.
    Enter {
        /// What names the call.
        found: Found,
        /// Name of the task, scrubbed.
        comm: String,
    },
    /// It returned this; whether more than the low 32 bits count depends on the function.
    Exit {
        /// The return value.
        retval: u64,
    },
}

impl ProbeRecord {
    /// Reads the text of a `bpf_trace_printk` event; `None` if another program wrote it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match Record::parse(text)? {
            Record::Enter { seq, ip, args, comm, texts, numbers } => {
                let comm = scrub_c_string(&comm, comm.len() * 3);
                let texts = texts.map(|text| scrub(text.as_bytes(), MAX_NAME));
                Self { seq, ip, point: ProbeCall::Enter { found: Found { args, texts, numbers }, comm } }
            }
            Record::Exit { seq, ip, retval } => Self { seq, ip, point: ProbeCall::Exit { retval } },
        })
    }
}

/// Sequence numbers that are not there between 0 and the highest that is, and numbers that are there
/// more than once: those tell of a counter that does not count.
///
/// What was lost after the last record that is there cannot be seen in the numbers.
pub fn lost(seqs: impl IntoIterator<Item = u64>) -> u64 {
    let mut seqs: Vec<_> = seqs.into_iter().collect();
    let all = seqs.len() as u64;
    seqs.sort_unstable();
    seqs.dedup();
    let unique = seqs.len() as u64;
    // The highest is at least the number of those below it.
    seqs.last().map_or(0, |&highest| (highest - (unique - 1)).saturating_add(all - unique))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_safe_to_print() {
        let record = ProbeRecord::parse(">0 10 1 2 3 1b706d6575716571 0 vm\x1b[0m").unwrap();
        let ProbeCall::Enter { found, comm } = record.point else { panic!("an entry") };
        assert_eq!(found.args, [1, 2, 3]);
        assert_eq!(comm, "qequemp\u{fffd}");
        assert_eq!(found.texts, ["vm\u{fffd}[0m", ""]);
        let exit = ProbeRecord { seq: 1, ip: 16, point: ProbeCall::Exit { retval: 0xffff_ffea } };
        assert_eq!(ProbeRecord::parse("<1 10 ffffffea "), Some(exit));
        assert_eq!(ProbeRecord::parse("someone else's line"), None);
    }

    #[test]
    fn holes_are_losses() {
        assert_eq!(lost([]), 0);
        assert_eq!(lost([0, 1, 2]), 0);
        assert_eq!(lost([2, 0, 5]), 3);
        assert_eq!(lost([1, 1, 1]), 3);
        assert_eq!(lost([u64::MAX]), u64::MAX);
    }

    proptest! {
        #[test]
        fn lost_counts_what_is_taken_away(total in 1u64..500, keep in proptest::collection::vec(any::<bool>(), 500)) {
            // The last stays, as its loss would not show.
            let seqs: Vec<_> = (0..total).filter(|&i| i == total - 1 || keep[i as usize]).collect();
            prop_assert_eq!(lost(seqs.iter().rev().copied()), total - seqs.len() as u64);
        }
    }
}
