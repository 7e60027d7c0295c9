//! What a kernel must be told of the clocks of an emulated machine, and the frequency of the TSC.
//!
//! A kernel finds its TSC's frequency by timers. Those of an emulated machine are late when the host is busy: Linux was
//! seen to take a tenth of the frequency. The emulated TSC is this machine's own, so the lab measures its frequency.

use crate::guest::observer::ticks;
use rustix::time::{ClockId, clock_gettime};
use std::thread::sleep;
use std::time::Duration;

/// How long the TSC is compared with the clock.
const SPAN: Duration = Duration::from_millis(100);
/// Readings at each end, of which the quickest counts: between the two of the others the processor was taken away.
const READINGS: usize = 20;

/// Kernel parameters for an emulated machine whose timers may be late, because its host is busy: the kernel takes the TSC's
/// frequency as given, does not compare the TSC with a timer later on (`tsc=nowatchdog`), and does not panic if the timer's
/// first interrupts are late (`check_timer`, arch/x86/kernel/apic/io_apic.c, 7.3).
pub fn parameters() -> String {
    let frequency = khz().map(|khz| format!(" tsc_early_khz={khz}")).unwrap_or_default();
    format!("tsc=nowatchdog no_timer_check{frequency}")
}

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Middle of two readings of the TSC around that of the clock.
    tsc: u64,
    /// Distance of these two.
    within: u64,
    clock_ns: u64,
}

impl Reading {
    fn take() -> Self {
        let before = ticks();
        let clock = clock_gettime(ClockId::Monotonic);
        let after = ticks();
        let within = after.saturating_sub(before);
        let seconds = u64::try_from(clock.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(clock.tv_nsec).unwrap_or_default();
        Self { tsc: before + within / 2, within, clock_ns: seconds * 1_000_000_000 + nanoseconds }
    }

    fn quickest() -> Option<Self> {
        (0..READINGS).map(|_| Self::take()).min_by_key(|reading| reading.within)
    }
}

/// Measures the frequency, in kHz; `None` if the two clocks do not advance.
fn khz() -> Option<u64> {
    let from = Reading::quickest()?;
    sleep(SPAN);
    frequency(from, Reading::quickest()?)
}

fn frequency(from: Reading, to: Reading) -> Option<u64> {
    let ticks = u128::from(to.tsc.checked_sub(from.tsc)?);
    let ns = u128::from(to.clock_ns.checked_sub(from.clock_ns)?);
    u64::try_from((ticks * 1_000_000).checked_div(ns)?).ok().filter(|khz| *khz > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(tsc: u64, clock_ns: u64) -> Reading {
        Reading { tsc, within: 0, clock_ns }
    }

    #[test]
    fn ticks_by_nanoseconds_are_the_frequency() {
        assert_eq!(frequency(reading(1_000, 0), reading(260_001_000, 100_000_000)), Some(2_600_000));
        assert_eq!(frequency(reading(1, 5), reading(2, 5)), None);
        assert_eq!(frequency(reading(2, 5), reading(1, 6)), None);
    }

    #[test]
    fn two_measurements_agree() {
        let (one, two) = (khz().unwrap(), khz().unwrap());
        assert!(one.abs_diff(two) < one / 100, "{one} kHz, {two} kHz");
    }

    proptest! {
        #[test]
        fn any_readings_have_an_answer(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
            let _ = frequency(reading(a.0, a.1), reading(b.0, b.1));
        }
    }
}
