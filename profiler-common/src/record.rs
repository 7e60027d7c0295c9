//! The text of one probe record.
//!
//! ```text
//! >SEQ IP A0 A1 A2 COMM0 COMM1 TEXT0|TEXT1|KNOWN N0 N1   a probed function was entered
//! <SEQ IP RETVAL                                                 it returned
//! ```
//! All numbers are hexadecimal. `SEQ` counts every record of every CPU since the programs were
//! loaded, from 0 and without holes: a number that is missing is a record that was lost. `IP` is the
//! function's address, `A0..A2` its first arguments as they stood in the registers, `COMM0 COMM1` the
//! 16 bytes of the task's name as two little-endian words. `TEXT0`, `TEXT1`, `N0`, `N1` are what the
//! probe's walks led to ([`crate::walk`]): strings, empty if unknown, and numbers; bit n of `KNOWN` is
//! set if number n was found. A line that ends with `TEXT0` is one of an older version.
//! Time, CPU and task id are the trace record's own.

/// Format of an enter record for `bpf_trace_vprintk`, NUL-terminated.
pub const ENTER_FORMAT: [u8; 57] = *b">%llx %llx %llx %llx %llx %llx %llx %s|%s|%llx %llx %llx\0";
/// Format of an exit record for `bpf_trace_vprintk`, NUL-terminated.
pub const EXIT_FORMAT: [u8; 17] = *b"<%llx %llx %llx \0";

/// Index in the `COUNTERS` map: records begun; the next record's `SEQ`.
pub const SEEN: u32 = 0;
/// Index in the `COUNTERS` map: records that `bpf_trace_vprintk` refused.
pub const REJECTED: u32 = 1;
/// Index in the `COUNTERS` map: run time of the programs that write these records, nanoseconds.
pub const RUN_NS: u32 = 2;
/// Entries of the `COUNTERS` map.
pub const COUNTERS: u32 = 3;

use crate::walk::SLOTS;

/// One parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A probed function was entered.
    Enter {
        /// Sequence number.
        seq: u64,
        /// Address of the function (on x86 with IBT possibly past its `endbr64`).
        ip: u64,
        /// First three arguments, raw.
        args: [u64; 3],
        /// Task name, NUL-padded.
        comm: [u8; 16],
        /// Strings that were found; empty if not.
        texts: [&'a str; SLOTS],
        /// Numbers that were found.
        numbers: [Option<u64>; SLOTS],
    },
    /// It returned.
    Exit {
        /// Sequence number.
        seq: u64,
        /// Address of the function.
        ip: u64,
        /// Return value, raw.
        retval: u64,
    },
}

impl<'a> Record<'a> {
    /// Parses one line; `None` if it is not one of ours.
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        if let Some(rest) = line.strip_prefix('>') {
            let mut fields = rest.splitn(8, ' ');
            let mut word = || hex(fields.next()?);
            let (seq, ip, args) = (word()?, word()?, [word()?, word()?, word()?]);
            let (low, high) = (word()?, word()?);
            let (texts, numbers) = found(fields.next()?)?;
            Some(Self::Enter { seq, ip, args, comm: comm(low, high), texts, numbers })
        } else {
            let mut fields = line.strip_prefix('<')?.trim_end_matches(' ').split(' ');
            let mut word = || hex(fields.next()?);
            let record = Self::Exit { seq: word()?, ip: word()?, retval: word()? };
            fields.next().is_none().then_some(record)
        }
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::Enter { seq, .. } | Self::Exit { seq, .. } => seq,
        }
    }
}

/// A task's name out of the two words of a record.
pub(crate) fn comm(low: u64, high: u64) -> [u8; 16] {
    let mut comm = [0; 16];
    comm[..8].copy_from_slice(&low.to_le_bytes());
    comm[8..].copy_from_slice(&high.to_le_bytes());
    comm
}

/// Strings and numbers at the end of an enter record. From the right: only the first string, which a
/// user may have chosen, can hold a bar.
fn found(rest: &str) -> Option<([&str; SLOTS], [Option<u64>; SLOTS])> {
    let mut fields = rest.rsplitn(3, '|');
    let (Some(numbers), Some(second), Some(first)) = (fields.next(), fields.next(), fields.next()) else {
        return Some(([rest, ""], [None; SLOTS]));
    };
    let mut words = numbers.split(' ').map(hex);
    let mut word = || words.next().flatten();
    let (known, values) = (word()?, [word()?, word()?]);
    let mut numbers = [None; SLOTS];
    for (bit, (number, value)) in numbers.iter_mut().zip(values).enumerate() {
        *number = (known >> bit & 1 == 1).then_some(value);
    }
    Some(([first, second], numbers))
}

pub(crate) fn hex(field: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    (!field.starts_with('+')).then(|| u64::from_str_radix(field, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String};

    #[test]
    fn reads_what_the_kernel_prints() {
        let record = Record::parse(">2a ffffffff81000004 1 2 3 6e692d62 0 lab-0\n").unwrap();
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"b-in");
        let args = [1, 2, 3];
        let ip = 0xffff_ffff_8100_0004;
        let texts = ["lab-0", ""];
        let old = Record::Enter { seq: 0x2a, ip, args, comm, texts, numbers: [None; 2] };
        assert_eq!(record, old);
        let line = ">2a ffffffff81000004 1 2 3 6e692d62 0 a|b|memfd-v2|2 0 1f\n";
        let (texts, numbers) = (["a|b", "memfd-v2"], [None, Some(0x1f)]);
        let new = Record::Enter { seq: 0x2a, ip, args, comm, texts, numbers };
        assert_eq!(Record::parse(line), Some(new));
        assert_eq!(
            Record::parse("<2b 1 ffffffea "),
            Some(Record::Exit { seq: 0x2b, ip: 1, retval: 0xffff_ffea })
        );
    }

    #[test]
    fn refuses_what_is_not_ours() {
        for line in ["", ">", "<", ">1 2 3", "<1 2", "<1 2 3 4", "<1 +2 3", ">1 2 3 4 5 6 7", "hello <1 2 3"]
        {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn enter_round_trip(
            seq: u64, ip: u64, args: [u64; 3], comm: [u8; 16], first in "[^\n\0]{0,63}", second in "[^\n|\0]{0,48}",
            known in 0u64..4, values: [u64; 2],
        ) {
            let low = u64::from_le_bytes(comm[..8].try_into().unwrap());
            let high = u64::from_le_bytes(comm[8..].try_into().unwrap());
            let ([a, b, c], [n, m]) = (args, values);
            let line = format!(
                ">{seq:x} {ip:x} {a:x} {b:x} {c:x} {low:x} {high:x} {first}|{second}|{known:x} {n:x} {m:x}"
            );
            let numbers = [(known & 1 != 0).then_some(n), (known & 2 != 0).then_some(m)];
            let texts = [first.as_str(), second.as_str()];
            prop_assert_eq!(Record::parse(&line), Some(Record::Enter { seq, ip, args, comm, texts, numbers }));
        }

        #[test]
        fn any_text_is_a_value_or_nothing(line: String) {
            let _ = Record::parse(&line);
        }
    }
}
