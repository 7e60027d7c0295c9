//! Records about vCPUs: when each stopped in the outgoing kernel, and first ran in the incoming one.
//!
//! ```text
//! =SEQ VCPU EXIT RAN NOW EXITS REASON COMM0 COMM1    outgoing, at machine_kexec: its last exit
//! .SEQ VCPUS REFUSED NOW                  after the last of those: how many there were
//! +SEQ VCPU NOW COMM0 COMM1               incoming: its first entry
//! -SEQ VCPU ENTRY EXIT REASON             incoming: one of its first stays in the guest
//! ```
//! All numbers are hexadecimal, `SEQ` is that of [`crate::record`]. `VCPU` is the VMM's process in the
//! upper half and the vCPU's number in the lower. Times are `CLOCK_MONOTONIC` in nanoseconds
//! (`bpf_ktime_get_ns`): exits are too frequent to be written one by one, and no BPF helper gives the
//! clock of the ring. `NOW` is that clock just before the record was made: every record ties the two.

/// Format of a last exit for `bpf_trace_vprintk`, NUL-terminated.
pub const LAST_EXIT_FORMAT: [u8; 46] = *b"=%llx %llx %llx %llx %llx %llx %llx %llx %llx\0";
/// Format of the record behind the last exits.
pub const FLUSHED_FORMAT: [u8; 21] = *b".%llx %llx %llx %llx\0";
/// Format of a first entry.
pub const FIRST_ENTRY_FORMAT: [u8; 26] = *b"+%llx %llx %llx %llx %llx\0";
/// Format of a stay in the guest.
pub const STAY_FORMAT: [u8; 26] = *b"-%llx %llx %llx %llx %llx\0";

/// vCPUs that have a seat; exits of those beyond are counted as refused.
pub const SEATS: u32 = 1024;
/// Stays that are recorded of each vCPU, from its first entry on.
pub const STAYS: u64 = 16;

/// A stay this many times as long as the shortest of its vCPU cannot be two world switches alone: the guest ran.
pub const RUNS: u64 = 2;

/// Index in the `KVM_COUNTERS` map: vCPUs that have, or wanted, a seat.
pub const SEATED: u32 = 0;
/// Index in the `KVM_COUNTERS` map: events of vCPUs that found no seat.
pub const REFUSED: u32 = 1;
/// Entries of the `KVM_COUNTERS` map.
pub const COUNTERS: u32 = 2;

/// Which vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId {
    /// Process (thread group) of its VMM.
    pub pid: u32,
    /// Its number in its VM.
    pub vcpu: u32,
}

impl VcpuId {
    /// As one word of a record.
    pub fn word(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.vcpu)
    }

    fn of(word: u64) -> Self {
        Self { pid: (word >> 32) as u32, vcpu: word as u32 }
    }
}

/// At which of KVM's tracepoints a program runs, and where that one's records hold what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// At `kvm:kvm_exit`, not at `kvm:kvm_entry`.
    pub exit: bool,
    /// Offset of `vcpu_id`, bytes.
    pub vcpu: u16,
    /// Offset of `exit_reason`, bytes; of an entry that of anything.
    pub reason: u16,
}

impl Hook {
    /// As the attach cookie.
    pub fn cookie(self) -> u64 {
        u64::from(self.exit) << 32 | u64::from(self.reason) << 16 | u64::from(self.vcpu)
    }

    /// Out of the attach cookie.
    pub fn of(cookie: u64) -> Self {
        Self { exit: cookie >> 32 != 0, vcpu: cookie as u16, reason: (cookie >> 16) as u16 }
    }
}

/// One parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VcpuRecord {
    /// The last exit of a vCPU.
    LastExit {
        /// Sequence number.
        seq: u64,
        /// Whose.
        id: VcpuId,
        /// When it was.
        exit_ns: u64,
        /// The exit of its last stay of [`RUNS`] times the shortest; 0 if there was none. If that is not
        /// its last exit, the guest may have stood still since.
        ran_ns: u64,
        /// When this was written.
        now_ns: u64,
        /// Exits since the probe was attached.
        exits: u64,
        /// `exit_reason` of the hardware.
        reason: u64,
        /// Name of the vCPU's thread, NUL-padded.
        comm: [u8; 16],
    },
    /// All last exits are written.
    Flushed {
        /// Sequence number.
        seq: u64,
        /// How many there were.
        vcpus: u64,
        /// Events that found no seat.
        refused: u64,
        /// When this was written.
        now_ns: u64,
    },
    /// The first entry of a vCPU; when it was is the record's own time.
    FirstEntry {
        /// Sequence number.
        seq: u64,
        /// Whose.
        id: VcpuId,
        /// When this was written.
        now_ns: u64,
        /// Name of the vCPU's thread, NUL-padded.
        comm: [u8; 16],
    },
    /// One stay in the guest; written at its exit.
    Stay {
        /// Sequence number.
        seq: u64,
        /// Whose.
        id: VcpuId,
        /// When it began; 0 if its entry was not seen.
        entry_ns: u64,
        /// When it ended.
        exit_ns: u64,
        /// `exit_reason` of the hardware.
        reason: u64,
    },
}

impl VcpuRecord {
    /// Parses one line; `None` if it is not one of these.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let mut rest = line.chars();
        let kind = rest.next()?;
        let mut fields = rest.as_str().split(' ');
        let mut word = || crate::record::hex(fields.next()?);
        let record = match kind {
            '=' => Self::LastExit {
                seq: word()?,
                id: VcpuId::of(word()?),
                exit_ns: word()?,
                ran_ns: word()?,
                now_ns: word()?,
                exits: word()?,
                reason: word()?,
                comm: crate::record::comm(word()?, word()?),
            },
            '.' => Self::Flushed { seq: word()?, vcpus: word()?, refused: word()?, now_ns: word()? },
            '+' => Self::FirstEntry {
                seq: word()?,
                id: VcpuId::of(word()?),
                now_ns: word()?,
                comm: crate::record::comm(word()?, word()?),
            },
            '-' => Self::Stay {
                seq: word()?,
                id: VcpuId::of(word()?),
                entry_ns: word()?,
                exit_ns: word()?,
                reason: word()?,
            },
            _ => return None,
        };
        fields.next().is_none().then_some(record)
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::LastExit { seq, .. }
            | Self::Flushed { seq, .. }
            | Self::FirstEntry { seq, .. }
            | Self::Stay { seq, .. } => seq,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String};

    #[test]
    fn formats_end_with_their_nul_and_take_a_word_a_field() {
        for (format, words) in [
            (LAST_EXIT_FORMAT.as_slice(), 9),
            (FLUSHED_FORMAT.as_slice(), 4),
            (FIRST_ENTRY_FORMAT.as_slice(), 5),
            (STAY_FORMAT.as_slice(), 5),
        ] {
            let text = core::ffi::CStr::from_bytes_with_nul(format).unwrap().to_str().unwrap();
            assert_eq!(text.matches("%llx").count(), words, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_ours() {
        for line in ["", "=", "+1 2", ".1 2 3", ".1 2 3 4 5", "-1 2 3 4 x", ">1 2 3", "+1 +2 3 4 5"] {
            assert_eq!(VcpuRecord::parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cookie_tells_the_hook(exit: bool, vcpu: u16, reason: u16) {
            let hook = Hook { exit, vcpu, reason };
            prop_assert_eq!(Hook::of(hook.cookie()), hook);
        }

        #[test]
        fn last_exit_round_trip(seq: u64, pid: u32, vcpu: u32, exit_ns: u64, ran_ns: u64, now_ns: u64, exits: u64, reason: u64, comm: [u8; 16]) {
            let id = VcpuId { pid, vcpu };
            let low = u64::from_le_bytes(comm[..8].try_into().unwrap());
            let high = u64::from_le_bytes(comm[8..].try_into().unwrap());
            let line = format!("={seq:x} {:x} {exit_ns:x} {ran_ns:x} {now_ns:x} {exits:x} {reason:x} {low:x} {high:x}\n", id.word());
            let record = VcpuRecord::LastExit { seq, id, exit_ns, ran_ns, now_ns, exits, reason, comm };
            prop_assert_eq!(VcpuRecord::parse(&line), Some(record));
            prop_assert_eq!(record.seq(), seq);
        }

        #[test]
        fn the_others_round_trip(words: [u64; 5]) {
            let [seq, word, a, b, c] = words;
            let id = VcpuId::of(word);
            prop_assert_eq!(id.word(), word);
            let stay = VcpuRecord::Stay { seq, id, entry_ns: a, exit_ns: b, reason: c };
            prop_assert_eq!(VcpuRecord::parse(&format!("-{seq:x} {word:x} {a:x} {b:x} {c:x}")), Some(stay));
            let flushed = VcpuRecord::Flushed { seq, vcpus: word, refused: a, now_ns: b };
            prop_assert_eq!(VcpuRecord::parse(&format!(".{seq:x} {word:x} {a:x} {b:x}")), Some(flushed));
            let first = VcpuRecord::parse(&format!("+{seq:x} {word:x} {a:x} {b:x} {c:x}"));
            let is_first = matches!(first, Some(VcpuRecord::FirstEntry { seq: s, id: i, now_ns, .. })
                if (s, i, now_ns) == (seq, id, a));
            prop_assert!(is_first);
        }

        #[test]
        fn any_text_is_a_value_or_nothing(line: String) {
            let _ = VcpuRecord::parse(&line);
        }
    }
}
