//! How fast a clock runs against the TSC, as an interval that holds the truth.

use crate::recording::frame::Scale;

/// Fraction bits of a rate.
const FRACTION: u32 = 48;
/// Rates above 64 ticks a nanosecond are no TSC; with values of 64 bits all products fit an `i128`.
const MAX: i128 = 1 << (FRACTION + 6);

/// What is known of a clock's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// The kernel's own conversion, exact for `sched_clock` and what is made from it (the `local` trace
    /// clock, kernel log times) as long as the kernel does not change it.
    Scale(Scale),
    /// The clock runs in true nanoseconds of a TSC with this frequency.
    Hz {
        /// Frequency.
        hz: u64,
        /// How far the truth may be from it, either way: half the last digit of the source, plus what
        /// the clock may be steered.
        error_hz: u64,
    },
}

/// TSC ticks a clock nanosecond, times 2^48: no less than `low`, no more than `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub low: i128,
    pub high: i128,
}

impl Rate {
    /// Nothing is known.
    pub const ANY: Self = Self { low: 0, high: MAX };

    /// `None` if the slope is not one of a TSC (zero, or absurd).
    pub fn of(slope: Slope) -> Option<Self> {
        match slope {
            Slope::Scale(Scale { mult, shift, .. }) => {
                let ticks = 1u128.checked_shl(u32::from(shift) + FRACTION)?;
                let mult = u128::from(mult);
                Self::checked(ticks.checked_div(mult)?, ticks.div_ceil(mult))
            }
            Slope::Hz { hz, error_hz } => {
                let low = u128::from(hz.saturating_sub(error_hz)) << FRACTION;
                let high = u128::from(hz.saturating_add(error_hz)) << FRACTION;
                Self::checked(low / 1_000_000_000, high.div_ceil(1_000_000_000))
            }
        }
    }

    /// What two readings allow: `ticks` passed while the clock moved `ns`, each known as an interval.
    pub fn between(ticks: (i128, i128), ns: (i128, i128)) -> Self {
        let low = if ticks.0 > 0 && ns.1 > 0 { (ticks.0 << FRACTION) / ns.1 } else { 0 };
        let high = if ns.0 > 0 { ((ticks.1.max(0) << FRACTION) / ns.0).saturating_add(1) } else { MAX };
        Self { low: low.min(MAX), high: high.min(MAX) }
    }

    /// What both allow; `None` if that is nothing.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// Fewest ticks that `ns` (may be negative) can be.
    pub fn least(self, ns: i128) -> i128 {
        (ns * if ns < 0 { self.high } else { self.low }) >> FRACTION
    }

    /// Most ticks that `ns` (may be negative) can be.
    pub fn most(self, ns: i128) -> i128 {
        ((ns * if ns < 0 { self.low } else { self.high }) >> FRACTION) + 1
    }

    fn checked(low: u128, high: u128) -> Option<Self> {
        let rate = Self { low: i128::try_from(low).ok()?, high: i128::try_from(high).ok()? };
        (rate.low > 0 && rate.low <= rate.high && rate.high <= MAX).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn absurd_slopes_are_refused() {
        for (mult, shift) in [(0, 10), (1, 17), (1, u16::MAX), (u32::MAX, 0), (7, 90)] {
            let scale = Scale { mult, shift, zero_ns: 0 };
            let rate = Rate::of(Slope::Scale(scale));
            assert_eq!(rate.is_some(), (mult, shift) == (u32::MAX, 0), "{scale:?}");
        }
        assert_eq!(Rate::of(Slope::Hz { hz: 0, error_hz: 0 }), None);
        assert_eq!(Rate::of(Slope::Hz { hz: 5, error_hz: 9 }), None);
        assert_eq!(Rate::of(Slope::Hz { hz: u64::MAX, error_hz: u64::MAX }), None);
    }

    proptest! {
        #[test]
        fn a_scale_brackets_the_kernels_own_conversion(
            mult in 1u32 << 26..u32::MAX, shift in 20u16..32, ns in 0i128..1 << 50,
        ) {
            let rate = Rate::of(Slope::Scale(Scale { mult, shift, zero_ns: 0 })).unwrap();
            // floor(ns * 2^shift / mult) computed without rounding the rate first
            let exact = (ns << shift) / i128::from(mult);
            prop_assert!(rate.least(ns) <= exact && exact <= rate.most(ns));
            prop_assert!(rate.least(-ns) <= -exact && -exact - 1 <= rate.most(-ns));
            prop_assert!(rate.most(ns) - rate.least(ns) <= 2 + (ns >> 48));
        }

        #[test]
        fn any_extremes_do_not_overflow(a in any::<u64>(), b in any::<u64>(), hz in any::<u64>(), error_hz in any::<u64>()) {
            let (a, b) = (i128::from(a), i128::from(b));
            let between = Rate::between((a - b, a), (b - a, b));
            let ns = a - b;
            prop_assert!(between.least(ns) <= between.most(ns) || between.low > between.high);
            if let Some(rate) = Rate::of(Slope::Hz { hz, error_hz }) {
                prop_assert!(rate.least(ns) <= rate.most(ns));
            }
        }
    }
}
