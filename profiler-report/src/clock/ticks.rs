//! Ticks and nanoseconds.

use std::num::NonZeroU64;

const NS: u128 = 1_000_000_000;

/// Frequency of a tick counter, per second; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hz(NonZeroU64);

impl Hz {
    /// `None` for 0.
    pub fn new(hz: u64) -> Option<Self> {
        NonZeroU64::new(hz).map(Self)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// A length in nanoseconds, rounded down; `u64::MAX` if it does not fit.
    pub fn ns(self, ticks: u64) -> u64 {
        saturate(u128::from(ticks) * NS / u128::from(self.get()))
    }

    /// A length in nanoseconds, rounded up: for errors, which must not shrink.
    pub fn ns_up(self, ticks: u64) -> u64 {
        saturate((u128::from(ticks) * NS).div_ceil(u128::from(self.get())))
    }

    /// A length in ticks, rounded down; `u64::MAX` if it does not fit.
    pub fn ticks(self, ns: u64) -> u64 {
        saturate(u128::from(ns) * u128::from(self.get()) / NS)
    }

    /// Nanoseconds from `origin` to `at` (both ticks), rounded towards the past, negative before it.
    ///
    /// Convert each border against one origin and take differences: phases then sum to their window
    /// to the nanosecond, whatever the rounding.
    pub fn since(self, origin: u64, at: u64) -> i64 {
        let ticks = i128::from(at) - i128::from(origin);
        // |ticks| < 2^64 and NS < 2^30: no overflow.
        let ns = (ticks * NS as i128).div_euclid(i128::from(self.get()));
        i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
    }
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn extremes_saturate() {
        let one = Hz::new(1).unwrap();
        assert_eq!(one.ns(u64::MAX), u64::MAX);
        assert_eq!(one.since(u64::MAX, 0), i64::MIN);
        assert_eq!(one.since(0, u64::MAX), i64::MAX);
        assert_eq!(Hz::new(u64::MAX).unwrap().ticks(u64::MAX), u64::MAX);
        assert_eq!(Hz::new(0), None);
    }

    #[test]
    fn rounding_is_down_and_errors_are_up() {
        let hz = Hz::new(3_000_000_000).unwrap();
        assert_eq!((hz.ns(4), hz.ns_up(4)), (1, 2));
        assert_eq!((hz.since(10, 14), hz.since(14, 10)), (1, -2));
    }

    proptest! {
        #[test]
        fn phases_sum_to_their_window(
            hz in 1_000_000..6_000_000_000u64,
            mut borders in prop::collection::vec(0..1u64 << 48, 2..20),
            origin in 0..1u64 << 48,
        ) {
            let hz = Hz::new(hz).unwrap();
            borders.sort_unstable();
            let at: Vec<i64> = borders.iter().map(|&border| hz.since(origin, border)).collect();
            let sum: i64 = at.windows(2).map(|pair| pair[1] - pair[0]).sum();
            prop_assert!(at.is_sorted());
            prop_assert_eq!(sum, at[at.len() - 1] - at[0]);
        }

        #[test]
        fn there_and_back_loses_less_than_a_step(hz in 1_000_000..6_000_000_000u64, ns in 0..1u64 << 60) {
            let hz = Hz::new(hz).unwrap();
            let ticks = hz.ticks(ns);
            prop_assert!(hz.ns(ticks) <= ns);
            prop_assert!(ns - hz.ns(ticks) <= NS as u64 / hz.get() + 1);
            prop_assert!(hz.ticks(hz.ns_up(ticks)) >= ticks);
        }
    }
}
