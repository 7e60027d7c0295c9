//! In which order a series is run.

use serde::{Deserialize, Serialize};
use std::fmt;
use toolbox::fingerprint::hash;

/// One of the two builds that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The one to compare with.
    A,
    /// The one that is judged.
    B,
}

/// Both, as they are listed.
pub const SIDES: [Side; 2] = [Side::A, Side::B];

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// `runs` of each side as pairs of one of each, which of them first decided by `seed`: a machine that drifts does so
/// on both, and a load that comes and goes with every second run meets both. A longer series begins with a shorter
/// one's runs.
pub fn order(seed: u64, runs: u32) -> impl Iterator<Item = (Side, u32)> {
    (1..=runs).flat_map(move |number| {
        let first = hash(&[&seed.to_le_bytes(), &number.to_le_bytes()]) >> 63;
        let pair = if first == 0 { [Side::A, Side::B] } else { [Side::B, Side::A] };
        pair.map(|side| (side, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_pair_has_both_sides_and_a_longer_series_goes_on(seed: u64, runs in 1..50_u32) {
            let all: Vec<_> = order(seed, runs).collect();
            for (pair, number) in all.chunks(2).zip(1..) {
                let mut sides = [pair[0].0, pair[1].0];
                sides.sort();
                prop_assert_eq!((sides, pair[0].1, pair[1].1), (SIDES, number, number));
            }
            prop_assert!(order(seed, runs + 3).take(all.len()).eq(all));
        }
    }

    #[test]
    fn either_side_comes_first_about_as_often() {
        let first = |seed| order(seed, 100).step_by(2).filter(|(side, _)| *side == Side::A).count();
        for seed in 0..20 {
            assert!((30..=70).contains(&first(seed)), "seed {seed}: {}", first(seed));
        }
    }
}
