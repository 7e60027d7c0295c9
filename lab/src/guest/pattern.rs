//! Content of a preserved file: a function of its token and the offset, so that the incoming side
//! knows every byte without anything being carried for the purpose.
//!
//! One page of pseudo-random words is drawn per file; page `n` is that page with each word XORed with
//! a key drawn from `n`. A page that moved, a file that was swapped for another and a flipped bit all
//! show, and a check costs one XOR and one OR for eight bytes, which matters inside the window that
//! is being measured.

/// Unit of the pattern, bytes. Buffers begin on a multiple of it.
pub const PAGE_BYTES: usize = 4096;
const WORD_BYTES: usize = 8;
const PAGE_WORDS: usize = PAGE_BYTES / WORD_BYTES;

/// Content of one file.
pub struct Pattern {
    seed: u64,
    base: [u64; PAGE_WORDS],
}

/// The first byte that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// The byte found there.
    pub found: u8,
    /// The byte that belongs there.
    pub expected: u8,
}

impl Pattern {
    /// The content of the file that is preserved under `token`.
    pub fn new(token: u64) -> Self {
        let seed = mix(token);
        let mut base = [0; PAGE_WORDS];
        let mut state = seed;
        for word in &mut base {
            state = mix(state);
            *word = state;
        }
        Pattern { seed, base }
    }

    /// Fills `buffer`, which begins at page `first_page` of the file.
    pub fn fill(&self, first_page: u64, buffer: &mut [u8]) {
        for (page, out) in (first_page..).zip(buffer.chunks_mut(PAGE_BYTES)) {
            let key = self.key(page);
            for (word, out) in self.base.iter().zip(out.chunks_mut(WORD_BYTES)) {
                let word = (word ^ key).to_le_bytes();
                for (byte, out) in word.iter().zip(out) {
                    *out = *byte;
                }
            }
        }
    }

    /// Compares `buffer`, which begins at page `first_page` of the file, to the content.
    pub fn mismatch(&self, first_page: u64, buffer: &[u8]) -> Option<Mismatch> {
        (first_page..).zip(buffer.chunks(PAGE_BYTES)).find_map(|(page, found)| {
            if found.len() == PAGE_BYTES && self.holds(page, found) {
                return None;
            }
            let mut expected = [0; PAGE_BYTES];
            self.fill(page, &mut expected);
            let (at, (found, expected)) =
                found.iter().zip(&expected).enumerate().find(|(_, (found, expected))| found != expected)?;
            let offset = page.saturating_mul(PAGE_BYTES as u64).saturating_add(at as u64);
            Some(Mismatch { offset, found: *found, expected: *expected })
        })
    }

    /// Whether a whole page is right. No branch inside: the compiler vectorises it.
    fn holds(&self, page: u64, found: &[u8]) -> bool {
        let key = self.key(page);
        let (words, _) = found.as_chunks::<WORD_BYTES>();
        let wrong = words
            .iter()
            .zip(&self.base)
            .fold(0, |wrong, (found, base)| wrong | (u64::from_le_bytes(*found) ^ base ^ key));
        wrong == 0
    }

    fn key(&self, page: u64) -> u64 {
        mix(self.seed ^ page)
    }
}

/// One step of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mix_is_splitmix64() {
        // First outputs of the published generator for seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn pages_and_files_differ() {
        let mut first = [0; 2 * PAGE_BYTES];
        Pattern::new(1).fill(0, &mut first);
        assert_ne!(first[..PAGE_BYTES], first[PAGE_BYTES..]);
        assert!(Pattern::new(2).mismatch(0, &first).is_some());
        assert!(Pattern::new(1).mismatch(1, &first).is_some());
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found_where_it_is(
            token: u64, page in 0u64..1 << 40, length in 1usize..3 * PAGE_BYTES, at: prop::sample::Index, bit in 0u8..8
        ) {
            let pattern = Pattern::new(token);
            let mut content = vec![0; length];
            pattern.fill(page, &mut content);
            prop_assert_eq!(pattern.mismatch(page, &content), None);
            let at = at.index(length);
            content[at] ^= 1 << bit;
            let mismatch = pattern.mismatch(page, &content).unwrap();
            prop_assert_eq!(mismatch.offset, page * PAGE_BYTES as u64 + at as u64);
            prop_assert_eq!(mismatch.found ^ mismatch.expected, 1 << bit);
        }
    }
}
