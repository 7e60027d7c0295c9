//! The text of one probe record.
//!
//! ```text
//! >SEQ IP A0 A1 A2 COMM0 COMM1 NAME     a probed function was entered
//! <SEQ IP RETVAL                        it returned
//! ```
//! All numbers are hexadecimal. `SEQ` counts every record of every CPU since the programs were
//! loaded, from 0 and without holes: a number that is missing is a record that was lost. `IP` is the
//! function's address, `A0..A2` its first arguments as they stood in the registers, `COMM0 COMM1` the
//! 16 bytes of the task's name as two little-endian words, `NAME` a string argument or nothing.
//! Time, CPU and task id are the trace record's own.

/// Format of an enter record for `bpf_trace_vprintk`, NUL-terminated.
pub const ENTER_FORMAT: [u8; 39] = *b">%llx %llx %llx %llx %llx %llx %llx %s\0";
/// Format of an exit record for `bpf_trace_vprintk`, NUL-terminated.
pub const EXIT_FORMAT: [u8; 17] = *b"<%llx %llx %llx \0";

/// Attach cookie of an entry probe whose first argument is a C string in kernel memory.
pub const NAMED: u64 = 1;

/// Index in the `COUNTERS` map: records begun; the next record's `SEQ`.
pub const SEEN: u32 = 0;
/// Index in the `COUNTERS` map: records that `bpf_trace_vprintk` refused.
pub const REJECTED: u32 = 1;
/// Entries of the `COUNTERS` map.
pub const COUNTERS: u32 = 2;

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
        /// String argument, or empty.
        name: &'a str,
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
            Some(Self::Enter { seq, ip, args, comm: comm(low, high), name: fields.next()? })
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
        assert_eq!(record, Record::Enter { seq: 0x2a, ip, args, comm, name: "lab-0" });
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
        fn enter_round_trip(seq: u64, ip: u64, args: [u64; 3], comm: [u8; 16], name in "[^\n\0]{0,63}") {
            let low = u64::from_le_bytes(comm[..8].try_into().unwrap());
            let high = u64::from_le_bytes(comm[8..].try_into().unwrap());
            let [a, b, c] = args;
            let line = format!(">{seq:x} {ip:x} {a:x} {b:x} {c:x} {low:x} {high:x} {name}");
            prop_assert_eq!(Record::parse(&line), Some(Record::Enter { seq, ip, args, comm, name: &name }));
        }

        #[test]
        fn any_text_is_a_value_or_nothing(line: String) {
            let _ = Record::parse(&line);
        }
    }
}
