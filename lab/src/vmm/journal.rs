//! What each vCPU keeps in its page of the guest's memory: how often it went round, and the largest gaps it
//! saw between two readings of its time-stamp counter. This is the truth the profiler is measured against.
//!
//! ```text
//!   0  rounds of the loop, u64
//!   8  rounds in which the FPU's state was found lost, u64
//!  64  gaps: 8 of (start, end), u64 ticks, in no order; all zero where there was none yet
//! ```

use crate::result::Gap;

/// Bytes of a journal that are used.
pub const JOURNAL_BYTES: usize = GAPS_OFFSET + GAPS_PER_VCPU * GAP_BYTES;
/// Where the rounds are counted.
pub const LOOPS_OFFSET: usize = 0;
/// Where losses of the FPU's state are counted.
pub const LOST_OFFSET: usize = 8;
/// Where the gaps begin.
pub const GAPS_OFFSET: usize = 64;
/// How many gaps are kept.
pub const GAPS_PER_VCPU: usize = 8;
const GAP_BYTES: usize = 16;

/// One vCPU's journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Journal {
    /// Rounds of the loop.
    pub loops: u64,
    /// Rounds that found the FPU's state lost.
    pub lost: u64,
    /// The largest gaps, the largest first.
    pub gaps: Vec<Gap>,
}

impl Journal {
    /// Reads a journal. A gap that is not whole, for the vCPU was stopped while it wrote it, is left out.
    pub fn decode(bytes: &[u8; JOURNAL_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |offset: usize| words.get(offset / 8).map_or(0, |word| u64::from_le_bytes(*word));
        let gap = |number: usize| {
            let at = GAPS_OFFSET + number * GAP_BYTES;
            Gap { start_tsc: word(at), end_tsc: word(at + 8) }
        };
        let mut gaps: Vec<Gap> = (0..GAPS_PER_VCPU)
            .map(gap)
            .filter(|gap| gap.start_tsc > 0 && gap.end_tsc > gap.start_tsc)
            .collect();
        gaps.sort_by_key(|gap| (std::cmp::Reverse(gap.ticks()), gap.start_tsc));
        Journal { loops: word(LOOPS_OFFSET), lost: word(LOST_OFFSET), gaps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(bytes: &mut [u8; JOURNAL_BYTES], offset: usize, value: u64) {
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    #[test]
    fn gaps_come_largest_first_and_only_whole() {
        let mut bytes = [0; JOURNAL_BYTES];
        write(&mut bytes, LOOPS_OFFSET, 12);
        write(&mut bytes, LOST_OFFSET, 1);
        for (number, (start, end)) in [(10, 12), (100, 900), (950, 20)].into_iter().enumerate() {
            write(&mut bytes, GAPS_OFFSET + number * 16, start);
            write(&mut bytes, GAPS_OFFSET + number * 16 + 8, end);
        }
        let gaps = vec![Gap { start_tsc: 100, end_tsc: 900 }, Gap { start_tsc: 10, end_tsc: 12 }];
        assert_eq!(Journal::decode(&bytes), Journal { loops: 12, lost: 1, gaps });
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_journal(bytes in proptest::collection::vec(any::<u8>(), JOURNAL_BYTES)) {
            let journal = Journal::decode(&bytes.try_into().unwrap());
            prop_assert!(journal.gaps.len() <= GAPS_PER_VCPU);
            prop_assert!(journal.gaps.is_sorted_by(|a, b| a.ticks() >= b.ticks()));
        }
    }
}
