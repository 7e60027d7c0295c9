//! Functions that are called once a page: counted where they run, and written once (`--hot`).
//!
//! ```text
//! #SEQ IP WHERE COUNT TOTAL MIN MAX       one CPU's calls of a function in one epoch
//! *SEQ IP WHERE WORD WORD ... (8)         how long they took: bucket << 48 | calls, 0 for nothing
//! ~SEQ SHARES UNPAIRED                    after the last of those: how many `#` there were
//! ```
//! All numbers are hexadecimal, `SEQ` is that of [`crate::record`]. `IP` is the function's address, `WHERE` the
//! epoch in the upper half and the CPU in the lower; times are nanoseconds. `UNPAIRED` are returns whose entry was
//! not seen: they are in no `COUNT`.
//!
//! A duration's bucket is log-linear, as in an HDR histogram: exact below 128 ns, then [`STEPS`] buckets for every
//! power of two. The middle of a bucket is at most 1/128 of the duration away.

/// Format of one CPU's calls for `bpf_trace_vprintk`, NUL-terminated.
pub const SHARE_FORMAT: [u8; 36] = *b"#%llx %llx %llx %llx %llx %llx %llx\0";
/// Format of their durations.
pub const BUCKETS_FORMAT: [u8; 56] = *b"*%llx %llx %llx %llx %llx %llx %llx %llx %llx %llx %llx\0";
/// Format of the record behind the last of them.
pub const WRITTEN_FORMAT: [u8; 16] = *b"~%llx %llx %llx\0";

/// Buckets for every power of two.
pub const STEPS: u32 = 64;
/// Buckets; the last one also takes what is longer than 2^32 ns.
pub const BUCKETS: usize = 128 + (32 - 7) * STEPS as usize;
/// Buckets in one record.
pub const WORDS: usize = 8;

/// Functions that can be counted at once.
pub const FUNCTIONS: u32 = 16;
/// Stretches of time that are told apart: what lies before the first phase that the catalogue marks, and the marked
/// ones.
pub const EPOCHS: u32 = 4;

/// Index in the `HOT_STATE` map: the present epoch.
pub const EPOCH: u32 = 0;
/// Index in the `HOT_STATE` map: functions that are counted.
pub const COUNTED: u32 = 1;
/// Index in the `HOT_STATE` map: returns without their entry.
pub const UNPAIRED: u32 = 2;
/// Index in the `HOT_STATE` map: runs of the program that timed themselves (one in some [`STEPS`]).
pub const SAMPLES: u32 = 3;
/// Index in the `HOT_STATE` map: what those took together, nanoseconds.
pub const SAMPLED_NS: u32 = 4;
/// Entries of the `HOT_STATE` map.
pub const STATE: u32 = 5;

/// Kernel functions (kfuncs) that the programs call. The object's parser knows none: the object has these numbers,
/// and the loader puts those of the running kernel's BTF in their place.
pub mod kfunc {
    /// `bpf_session_is_return`.
    pub const SESSION_IS_RETURN: usize = 0x4b46_0000;
    /// `bpf_session_cookie`.
    pub const SESSION_COOKIE: usize = 0x4b46_0001;
    /// `bpf_iter_num_new`.
    pub const ITER_NUM_NEW: usize = 0x4b46_0002;
    /// `bpf_iter_num_next`.
    pub const ITER_NUM_NEXT: usize = 0x4b46_0003;
    /// `bpf_iter_num_destroy`.
    pub const ITER_NUM_DESTROY: usize = 0x4b46_0004;
    /// Their names, in the order of the numbers.
    pub const NAMES: [&str; 5] = [
        "bpf_session_is_return",
        "bpf_session_cookie",
        "bpf_iter_num_new",
        "bpf_iter_num_next",
        "bpf_iter_num_destroy",
    ];
}

/// One CPU's calls of one function in one epoch: a value of the map `HOT_SHARES`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Calls that returned.
    pub count: u64,
    /// Their time together, nanoseconds.
    pub total_ns: u64,
    /// The shortest; nothing if there was none.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many of each [`bucket`].
    pub buckets: [u32; BUCKETS],
}

/// The bucket of a duration.
#[inline(always)]
pub fn bucket(ns: u64) -> usize {
    if ns < 128 {
        return ns as usize;
    }
    if ns >> 32 != 0 {
        return BUCKETS - 1;
    }
    // Not `leading_zeros`: BPF has no instruction for it, and what stands for it is longer than this.
    let (mut exponent, mut rest) = (0_u32, ns as u32);
    if rest >= 1 << 16 {
        exponent += 16;
        rest >>= 16;
    }
    if rest >= 1 << 8 {
        exponent += 8;
        rest >>= 8;
    }
    if rest >= 1 << 4 {
        exponent += 4;
        rest >>= 4;
    }
    if rest >= 1 << 2 {
        exponent += 2;
        rest >>= 2;
    }
    exponent += rest >> 1;
    // 7 to 31: the highest bit, then the six below it.
    let step = (ns as u32 >> (exponent - 6)) & (STEPS - 1);
    (128 + (exponent - 7) * STEPS + step) as usize
}

/// The duration that stands for a bucket: its middle.
pub fn middle(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(128) else { return bucket as u64 };
    let (exponent, step) = (7 + above / STEPS as usize, (above % STEPS as usize) as u64);
    let width = 1_u64 << (exponent.min(62) - 6);
    (u64::from(STEPS) + step) * width + width / 2
}

/// Where calls were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Where {
    /// Of [`EPOCHS`].
    pub epoch: u32,
    /// The CPU.
    pub cpu: u32,
}

impl Where {
    /// As one word of a record.
    #[inline(always)]
    pub fn word(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.cpu)
    }

    fn of(word: u64) -> Self {
        Self { epoch: (word >> 32) as u32, cpu: word as u32 }
    }
}

/// A bucket and its calls as one word of a record.
#[inline(always)]
pub fn pack(bucket: usize, calls: u32) -> u64 {
    (bucket as u64) << 48 | u64::from(calls)
}

/// One parsed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotRecord {
    /// One CPU's calls of a function in one epoch.
    Share {
        /// Sequence number.
        seq: u64,
        /// Address of the function.
        ip: u64,
        /// Epoch and CPU.
        at: Where,
        /// Calls.
        count: u64,
        /// Their time together, nanoseconds.
        total_ns: u64,
        /// The shortest.
        min_ns: u64,
        /// The longest.
        max_ns: u64,
    },
    /// Some of their durations.
    Buckets {
        /// Sequence number.
        seq: u64,
        /// Address of the function.
        ip: u64,
        /// Epoch and CPU.
        at: Where,
        /// Bucket and calls; 0 calls for nothing.
        buckets: [(u16, u64); WORDS],
    },
    /// Everything is written.
    Written {
        /// Sequence number.
        seq: u64,
        /// How many [`HotRecord::Share`] there were.
        shares: u64,
        /// Returns without their entry.
        unpaired: u64,
    },
}

impl HotRecord {
    /// Parses one line; `None` if it is not one of these.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let mut rest = line.chars();
        let kind = rest.next()?;
        let mut fields = rest.as_str().split(' ');
        let mut word = || crate::record::hex(fields.next()?);
        let record = match kind {
            '#' => Self::Share {
                seq: word()?,
                ip: word()?,
                at: Where::of(word()?),
                count: word()?,
                total_ns: word()?,
                min_ns: word()?,
                max_ns: word()?,
            },
            '*' => {
                let (seq, ip, at) = (word()?, word()?, Where::of(word()?));
                let mut buckets = [(0, 0); WORDS];
                for bucket in &mut buckets {
                    let word = word()?;
                    *bucket = ((word >> 48) as u16, word & ((1 << 48) - 1));
                }
                Self::Buckets { seq, ip, at, buckets }
            }
            '~' => Self::Written { seq: word()?, shares: word()?, unpaired: word()? },
            _ => return None,
        };
        fields.next().is_none().then_some(record)
    }

    /// Its sequence number.
    pub fn seq(&self) -> u64 {
        match *self {
            Self::Share { seq, .. } | Self::Buckets { seq, .. } | Self::Written { seq, .. } => seq,
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
            (SHARE_FORMAT.as_slice(), 7),
            (BUCKETS_FORMAT.as_slice(), 3 + WORDS),
            (WRITTEN_FORMAT.as_slice(), 3),
        ] {
            let text = core::ffi::CStr::from_bytes_with_nul(format).unwrap().to_str().unwrap();
            assert_eq!(text.matches("%llx").count(), words, "{text}");
        }
    }

    #[test]
    fn buckets_follow_one_another() {
        let mut last = 0;
        for ns in 0..1 << 20 {
            let bucket = bucket(ns);
            assert!(bucket == last || bucket == last + 1, "{ns}");
            last = bucket;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket((1 << 32) - 1), BUCKETS - 1);
        assert_eq!(size_of::<Share>() % 8, 0);
    }

    #[test]
    fn refuses_what_is_not_ours() {
        for line in ["", "#", "#1 2 3 4 5 6", "*1 2 3 4 5 6 7 8 9 a", "~1 2", "~1 2 3 4", "~1 +2 3", ">1 2 3"]
        {
            assert_eq!(HotRecord::parse(line), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn the_middle_is_within_one_percent(ns in 0..1_u64 << 32) {
            let middle = middle(bucket(ns));
            prop_assert!(middle.abs_diff(ns) * 100 <= ns, "{ns} {middle}");
        }

        #[test]
        fn records_round_trip(words: [u64; 7], calls: [u32; WORDS]) {
            let [seq, ip, at, count, total_ns, min_ns, max_ns] = words;
            let at = Where::of(at);
            let line = format!("#{seq:x} {ip:x} {:x} {count:x} {total_ns:x} {min_ns:x} {max_ns:x}\n", at.word());
            let share = HotRecord::Share { seq, ip, at, count, total_ns, min_ns, max_ns };
            prop_assert_eq!(HotRecord::parse(&line), Some(share));
            let mut line = format!("*{seq:x} {ip:x} {:x}", at.word());
            for (bucket, calls) in calls.iter().enumerate() {
                line += &format!(" {:x}", pack(bucket, *calls));
            }
            let buckets = core::array::from_fn(|n| (n as u16, u64::from(calls[n])));
            prop_assert_eq!(HotRecord::parse(&line), Some(HotRecord::Buckets { seq, ip, at, buckets }));
            let written = HotRecord::Written { seq, shares: count, unpaired: ip };
            prop_assert_eq!(HotRecord::parse(&format!("~{seq:x} {count:x} {ip:x}")), Some(written));
            prop_assert_eq!(share.seq(), seq);
        }

        #[test]
        fn any_text_is_a_value_or_nothing(line: String) {
            let _ = HotRecord::parse(&line);
        }
    }
}
