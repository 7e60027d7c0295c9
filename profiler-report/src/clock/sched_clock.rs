//! The kernel's own line between TSC and `sched_clock`, back to its first instant.
//!
//! `sched_clock = offset + (tsc * mult >> shift)` (arch/x86/kernel/tsc.c, Linux 7.3). A perf event's
//! mapped page shows `mult`, `shift` and `time_zero = offset + __sched_clock_offset`
//! (`arch_perf_update_userpage`); the log shows `__sched_clock_offset` as the last number of
//! "sched_clock: Marking stable (..)->(.., N)" (kernel/sched/clock.c). So the line is exact. Before that
//! message the log's clock was `sched_clock` without the offset, until the timer tick took it over.
//!
//! Refining the calibration turns the line about one point, where both lines meet
//! (`set_cyc2ns_scale(tsc_khz, cpu, tsc_stop)`): near the log time of the message that tells it. That
//! instant is known to `PIVOT_ERROR_NS`; what that makes is the error, rate difference times time.

use super::line::Anchor;
use crate::recording::frame::Scale;

/// From the reading that ends the calibration to its message lie a few function calls, and possibly a
/// wait for the console.
const PIVOT_ERROR_NS: i128 = 10_000_000;

/// When the kernel refined its calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refined {
    /// Log time of the message, nanoseconds.
    pub at_ns: u64,
}

/// `mult` and `shift` that the kernel makes of a frequency: `clocks_calc_mult_shift(khz, NSEC_PER_MSEC, 0)`
/// (kernel/time/clocksource.c), and 31 instead of 32 (`__set_cyc2ns_scale`). `None` for 0.
pub(crate) fn mult_shift(khz: u32) -> Option<(u32, u16)> {
    const NSEC_PER_MSEC: u64 = 1_000_000;
    let from = u64::from(khz);
    for shift in (1..=32_u16).rev() {
        let mult = ((NSEC_PER_MSEC << shift) + from / 2).checked_div(from)?;
        if let Ok(mult) = u32::try_from(mult) {
            return Some(if shift == 32 { (mult >> 1, 31) } else { (mult, shift) });
        }
    }
    None
}

/// The frequency behind a scale, to the kilohertz that the kernel made it of; Hz. `None` for a scale that
/// is none.
pub fn hz(scale: Scale) -> Option<u64> {
    let ticks = 1_000_000_u128.checked_shl(scale.shift.into())?;
    let khz = (ticks + u128::from(scale.mult) / 2).checked_div(scale.mult.into())?;
    u64::try_from(khz).ok()?.checked_mul(1000)
}

/// An anchor of the log's clock in its first stretch, at log time `value_ns`.
///
/// `scale` is the kernel's now, `offset_ns` its `__sched_clock_offset`, `early_khz` the frequency it
/// booted with. `None` where the numbers make no line.
pub(crate) fn early_anchor(
    scale: Scale,
    offset_ns: i64,
    early_khz: u32,
    refined: Option<Refined>,
    value_ns: u64,
) -> Option<Anchor> {
    let now =
        Line { mult: scale.mult, shift: scale.shift, offset: (scale.zero_ns as i64).wrapping_sub(offset_ns) };
    let (mult, shift) = mult_shift(early_khz)?;
    let (early, error_ns) = if (mult, shift) == (now.mult, now.shift) {
        (now, 0)
    } else {
        // The log's clock at the message was `sched_clock` plus the offset.
        let pivot_ns = i128::from(refined?.at_ns) - i128::from(offset_ns);
        let pivot = now.ticks(pivot_ns)?;
        let offset = pivot_ns - ((pivot * i128::from(mult)) >> shift);
        let early = Line { mult, shift, offset: i64::try_from(offset).ok()? };
        // How far the lines part in the time by which the pivot may be wrong.
        let reach = pivot + early.ticks(PIVOT_ERROR_NS)?.abs_diff(early.ticks(0)?) as i128;
        let parted = (early.ns(reach) - now.ns(reach)).abs();
        (early, parted)
    };
    let tick = early.ticks(i128::from(value_ns))?;
    // One more on each side for the two roundings.
    let error = early.ticks(error_ns + 1)?.abs_diff(early.ticks(0)?) as i128 + 1;
    let clamp = |ticks: i128| u64::try_from(ticks).ok();
    Some(Anchor { value_ns, before: clamp(tick - error)?, after: clamp(tick + error)? })
}

/// One line of `sched_clock`.
#[derive(Debug, Clone, Copy)]
struct Line {
    mult: u32,
    shift: u16,
    offset: i64,
}

impl Line {
    fn ns(self, ticks: i128) -> i128 {
        i128::from(self.offset) + ((ticks * i128::from(self.mult)) >> self.shift)
    }

    /// `None` for a scale that is none.
    fn ticks(self, ns: i128) -> Option<i128> {
        let scaled = (ns - i128::from(self.offset)).checked_mul(1_i128.checked_shl(self.shift.into())?)?;
        scaled.checked_div(self.mult.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scale_gives_its_frequency_back() {
        for khz in [999_999, 2_596_118, 3_999_999] {
            let (mult, shift) = mult_shift(khz).unwrap();
            assert_eq!(hz(Scale { mult, shift, zero_ns: 0 }), Some(u64::from(khz) * 1000));
        }
        assert_eq!(hz(Scale { mult: 0, shift: 31, zero_ns: 0 }), None);
    }

    #[test]
    fn mult_and_shift_are_the_kernels() {
        // From a perf page of a 2596.118 MHz machine.
        let (mult, shift) = mult_shift(2_596_118).unwrap();
        assert_eq!(shift, 31);
        let ns = (2_596_118_000_u128 * u128::from(mult)) >> shift;
        assert!((999_999_990..=1_000_000_010).contains(&ns));
        assert_eq!(mult_shift(0), None);
        // Below 1 MHz the multiplier of shift 32 does not fit.
        assert!(mult_shift(500_000).unwrap().1 < 31);
    }

    proptest! {
        /// A kernel that boots with one frequency and refines it to another.
        #[test]
        fn the_early_anchor_holds_the_truth(
            early_khz in 1_000_000_u32..5_000_000,
            drift_ppm in -500_i64..500,
            booted_tsc in 0_u64..1 << 50,
            offset_ns in -1_000_000_i64..1_000_000,
            refined_after_ms in 500_u64..3_000,
            message_late_us in 0_u64..5_000,
            value_us in 1_u64..400_000,
        ) {
            let (m1, s1) = mult_shift(early_khz).unwrap();
            let refined_khz = (i64::from(early_khz) + i64::from(early_khz) * drift_ppm / 1_000_000) as u32;
            let (m2, s2) = mult_shift(refined_khz).unwrap();
            let shr = |tsc: u64, m: u32, s: u16| ((u128::from(tsc) * u128::from(m)) >> s) as i128;
            let off1 = -shr(booted_tsc, m1, s1);
            let tsc_stop = booted_tsc + refined_after_ms * u64::from(early_khz);
            let ns_stop = off1 + shr(tsc_stop, m1, s1);
            let off2 = ns_stop - shr(tsc_stop, m2, s2);
            let zero_ns = (off2 as i64).wrapping_add(offset_ns) as u64;
            let at_ns = (ns_stop + i128::from(offset_ns)) as u64 + message_late_us * 1_000;

            let scale = Scale { mult: m2, shift: s2, zero_ns };
            let value_ns = value_us * 1_000;
            let anchor =
                early_anchor(scale, offset_ns, early_khz, Some(Refined { at_ns }), value_ns).unwrap();
            // The log shows this value from the first tick at which the line has reached it.
            let truth = (((i128::from(value_ns) - off1) as u128) << s1).div_ceil(u128::from(m1)) as i128;
            prop_assert!(i128::from(anchor.before) <= truth && truth <= i128::from(anchor.after) + 1,
                "{anchor:?} does not hold {truth}");
        }
    }
}
