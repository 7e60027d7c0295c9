//! Do two halves belong to one live update, and does time run forward across it?

use super::ticks::Hz;
use crate::recording::frame::RtcReading;

const SECOND_NS: u64 = 1_000_000_000;
/// A clock of whole seconds (RTC) is read in each kernel, by the profiler or, to set the realtime clock, by the kernel:
/// the difference of two such readings is off by less than one second. Setting the RTC meanwhile, which takes whole
/// seconds too (`rtc_set_time`, drivers/rtc/interface.c, Linux 7.3), moves it by less than another.
const RTC_RESOLUTION_NS: u64 = 2 * SECOND_NS;
/// A TSC frequency may be wrong by 1 %: the kernel takes no refinement beyond
/// (`tsc_refine_calibration_work`, arch/x86/kernel/tsc.c).
const RATE_TOLERANCE_PERCENT: u64 = 1;
/// Before it has a counter a kernel's realtime clock counts ticks, and loses those that come while interrupts are off
/// (`clocksource_jiffies`, kernel/time/jiffies.c, Linux 7.3). Either kernel may so be behind the RTC, of which the
/// next one knows nothing: an emulated host was seen to lose a tenth of the time. No boot takes longer than that,
/// unless its virtual machine is stopped. The allowance is for halves without comparable readings of the RTC, which loses
/// no ticks.
const LOST_TICKS_PERCENT: u64 = 25;
const LOST_TICKS_NS: u64 = 10_000_000_000;

/// What one half says of itself; `None` where it says nothing, which is then not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Half {
    /// Run id.
    pub run_id: Option<String>,
    /// `uname -r`.
    pub release: Option<String>,
    /// Incoming: the release it says it was kexec'd from ("KHO: exec from: RELEASE").
    pub exec_from: Option<String>,
    /// KHO's kexec count; 0 after a cold boot.
    pub kexec_count: Option<u32>,
    /// LUO's live update number; 0 after a cold boot.
    pub liveupdate_number: Option<u64>,
    /// First TSC seen, ticks.
    pub first_tsc: Option<u64>,
    /// Last TSC seen, ticks.
    pub last_tsc: Option<u64>,
    /// `(tsc, realtime_ns)` taken together.
    pub realtime_at_tsc: Option<(u64, u64)>,
    /// Reading of the RTC.
    pub rtc: Option<RtcReading>,
    /// TSC frequency.
    pub hz: Option<Hz>,
}

/// The halves cannot be one timeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Two runs.
    #[error("outgoing half is of run {outgoing}, incoming half of run {incoming}")]
    RunId {
        /// Outgoing.
        outgoing: String,
        /// Incoming.
        incoming: String,
    },
    /// Another kexec lies between, or none.
    #[error(
        "outgoing kernel was kexec number {outgoing}, so incoming must be the next, but it is {incoming}"
    )]
    KexecCount {
        /// Outgoing.
        outgoing: u32,
        /// Incoming.
        incoming: u32,
    },
    /// Another live update lies between, or none.
    #[error("outgoing kernel was live update {outgoing}, so incoming must be the next, but it is {incoming}")]
    LiveupdateNumber {
        /// Outgoing.
        outgoing: u64,
        /// Incoming.
        incoming: u64,
    },
    /// Another kernel was replaced.
    #[error("outgoing kernel is {outgoing}, but the incoming one was started by {exec_from}")]
    Release {
        /// Outgoing kernel's release.
        outgoing: String,
        /// What the incoming kernel printed.
        exec_from: String,
    },
    /// The TSC was reset, or the halves overlap.
    #[error(
        "TSC runs backwards: outgoing kernel was last seen at {outgoing}, incoming first at {incoming}; times cannot be joined"
    )]
    TscBackwards {
        /// Last outgoing, ticks.
        outgoing: u64,
        /// First incoming, ticks.
        incoming: u64,
    },
    /// The TSC stopped, was reset or changed its rate.
    #[error(
        "between the halves the TSC counts {tsc_ns} ns, the realtime clock {realtime_ns} ns: more than {tolerance_ns} ns apart; times cannot be joined"
    )]
    Realtime {
        /// By the TSC; negative if it ran backwards.
        tsc_ns: i64,
        /// By the realtime clock.
        realtime_ns: i64,
        /// What was allowed.
        tolerance_ns: u64,
    },
    /// The TSC stopped, was reset or changed its rate; or the RTC was set.
    #[error(
        "between the halves the TSC counts {tsc_ns} ns, the real-time clock (RTC) {rtc_ns} ns: more than {tolerance_ns} ns apart (was the RTC set meanwhile?); times cannot be joined"
    )]
    Rtc {
        /// By the TSC; negative if it ran backwards.
        tsc_ns: i64,
        /// By the RTC.
        rtc_ns: i64,
        /// What was allowed.
        tolerance_ns: u64,
    },
}

/// Checks everything both halves speak of.
///
/// # Errors
/// The first [`JoinError`] found.
pub fn check(outgoing: &Half, incoming: &Half) -> Result<(), JoinError> {
    if let (Some(a), Some(b)) = (&outgoing.run_id, &incoming.run_id)
        && a != b
    {
        return Err(JoinError::RunId { outgoing: a.clone(), incoming: b.clone() });
    }
    if let (Some(a), Some(b)) = (outgoing.kexec_count, incoming.kexec_count)
        && a.checked_add(1) != Some(b)
    {
        return Err(JoinError::KexecCount { outgoing: a, incoming: b });
    }
    if let (Some(a), Some(b)) = (outgoing.liveupdate_number, incoming.liveupdate_number)
        && a.checked_add(1) != Some(b)
    {
        return Err(JoinError::LiveupdateNumber { outgoing: a, incoming: b });
    }
    if let (Some(a), Some(b)) = (&outgoing.release, &incoming.exec_from)
        && a != b
    {
        return Err(JoinError::Release { outgoing: a.clone(), exec_from: b.clone() });
    }
    if let (Some(a), Some(b)) = (outgoing.last_tsc, incoming.first_tsc)
        && a >= b
    {
        return Err(JoinError::TscBackwards { outgoing: a, incoming: b });
    }
    let Some(hz) = outgoing.hz.or(incoming.hz) else { return Ok(()) };
    match (&outgoing.rtc, &incoming.rtc) {
        // Kernels of different configuration may number the RTCs of a machine differently.
        (Some(a), Some(b)) if a.name == b.name => check_rtc(hz, a, b),
        _ => check_realtime(hz, outgoing, incoming),
    }
}

fn check_rtc(hz: Hz, outgoing: &RtcReading, incoming: &RtcReading) -> Result<(), JoinError> {
    let seconds = i128::from(incoming.seconds) - i128::from(outgoing.seconds);
    let rtc_ns = saturate(seconds * i128::from(SECOND_NS));
    // The RTC was read at some moment between its two readings of the TSC: the nearest that is possible counts.
    let (shortest_ns, longest_ns) =
        (hz.since(outgoing.after, incoming.before), hz.since(outgoing.before, incoming.after));
    let tsc_ns = rtc_ns.max(shortest_ns).min(longest_ns);
    let tolerance_ns = RTC_RESOLUTION_NS + percent_of(rtc_ns, RATE_TOLERANCE_PERCENT);
    if tsc_ns.abs_diff(rtc_ns) > tolerance_ns {
        return Err(JoinError::Rtc { tsc_ns, rtc_ns, tolerance_ns });
    }
    Ok(())
}

fn check_realtime(hz: Hz, outgoing: &Half, incoming: &Half) -> Result<(), JoinError> {
    let (Some(a), Some(b)) = (outgoing.realtime_at_tsc, incoming.realtime_at_tsc) else { return Ok(()) };
    let tsc_ns = hz.since(a.0, b.0);
    let realtime_ns = saturate(i128::from(b.1) - i128::from(a.1));
    let lost_ticks_ns = percent_of(realtime_ns, LOST_TICKS_PERCENT).min(LOST_TICKS_NS);
    let tolerance_ns = RTC_RESOLUTION_NS.max(percent_of(realtime_ns, RATE_TOLERANCE_PERCENT)) + lost_ticks_ns;
    if tsc_ns.abs_diff(realtime_ns) > tolerance_ns {
        return Err(JoinError::Realtime { tsc_ns, realtime_ns, tolerance_ns });
    }
    Ok(())
}

fn percent_of(ns: i64, percent: u64) -> u64 {
    ns.unsigned_abs() / 100 * percent
}

fn saturate(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GHZ: u64 = 2_000_000_000;

    fn halves() -> (Half, Half) {
        let outgoing = Half {
            run_id: Some("00112233445566aa".into()),
            release: Some("7.2.13".into()),
            exec_from: None,
            kexec_count: Some(0),
            liveupdate_number: Some(0),
            first_tsc: Some(1_000),
            last_tsc: Some(100 * GHZ),
            realtime_at_tsc: Some((90 * GHZ, 1_700_000_000_000_000_000)),
            rtc: None,
            hz: Hz::new(GHZ),
        };
        let incoming = Half {
            run_id: outgoing.run_id.clone(),
            release: Some("7.3.4".into()),
            exec_from: outgoing.release.clone(),
            kexec_count: Some(1),
            liveupdate_number: Some(1),
            first_tsc: Some(101 * GHZ),
            last_tsc: Some(110 * GHZ),
            realtime_at_tsc: Some((105 * GHZ, 1_700_000_015_900_000_000)),
            rtc: None,
            hz: Hz::new(GHZ + 1_000),
        };
        (outgoing, incoming)
    }

    #[test]
    fn two_halves_of_one_update_join() {
        let (outgoing, incoming) = halves();
        assert_eq!(check(&outgoing, &incoming), Ok(()));
        assert_eq!(check(&Half::default(), &incoming), Ok(()));
        assert_eq!(check(&outgoing, &Half::default()), Ok(()));
    }

    #[test]
    fn each_contradiction_names_both_values() {
        let broken = |edit: fn(&mut Half)| {
            let (outgoing, mut incoming) = halves();
            edit(&mut incoming);
            check(&outgoing, &incoming).unwrap_err()
        };
        assert!(matches!(broken(|half| half.run_id = Some("b".into())), JoinError::RunId { .. }));
        let count = broken(|half| half.kexec_count = Some(2));
        assert_eq!(count, JoinError::KexecCount { outgoing: 0, incoming: 2 });
        let number = broken(|half| half.liveupdate_number = Some(3));
        assert_eq!(number, JoinError::LiveupdateNumber { outgoing: 0, incoming: 3 });
        let release = broken(|half| half.exec_from = Some("6.12".into())).to_string();
        assert!(release.contains("7.2.13") && release.contains("6.12"), "{release}");
        let tsc = broken(|half| half.first_tsc = Some(3));
        assert_eq!(tsc, JoinError::TscBackwards { outgoing: 100 * GHZ, incoming: 3 });
    }

    #[test]
    fn realtime_may_be_off_by_the_rtcs_second_and_lost_ticks_and_no_more() {
        let with = |realtime_ms: u64, tsc: u64| {
            let (outgoing, mut incoming) = halves();
            incoming.realtime_at_tsc = Some((tsc, 1_700_000_000_000_000_000 + realtime_ms * 1_000_000));
            check(&outgoing, &incoming)
        };
        // The TSC counts 15 s.
        assert_eq!(
            [10_000, 12_000, 16_900, 22_000].map(|ms| with(ms, 105 * GHZ).is_ok()),
            [false, true, true, true]
        );
        assert_eq!(
            with(24_000, 105 * GHZ),
            Err(JoinError::Realtime {
                tsc_ns: 15_000_000_000,
                realtime_ns: 24_000_000_000,
                tolerance_ns: 8_000_000_000
            })
        );
        // After 1000 s one per cent is 10 s, and no boot loses more.
        assert_eq!(with(1_000_000, 90 * GHZ + 981 * GHZ), Ok(()));
        assert_eq!(with(1_000_000, 90 * GHZ + 1_019 * GHZ), Ok(()));
        assert!(with(1_000_000, 90 * GHZ + 979 * GHZ).is_err());
        assert!(with(1_000_000, 90 * GHZ + 1_021 * GHZ).is_err());
        // A TSC that was reset after the last outgoing sample.
        assert!(with(15_000, GHZ).is_err());
    }

    fn rtc(before: u64, seconds: u64, after: u64) -> Option<RtcReading> {
        Some(RtcReading { name: "rtc_cmos 00:04".into(), before, seconds, after })
    }

    /// Checks halves whose TSC counts as long as said between readings of the RTC that are 60 s apart.
    fn with_rtc_minute(tsc_ms: u64) -> Result<(), JoinError> {
        let (mut outgoing, mut incoming) = halves();
        let after = 90 * GHZ + GHZ / 1_000 * tsc_ms;
        (outgoing.rtc, incoming.rtc) =
            (rtc(90 * GHZ, 1_700_000_000, 90 * GHZ), rtc(after, 1_700_000_060, after));
        check(&outgoing, &incoming)
    }

    #[test]
    fn a_realtime_clock_that_lost_its_ticks_is_overruled_by_the_rtc() {
        let (mut outgoing, mut incoming) = halves();
        // The virtual machine was stopped for 60 s while its kernel counted ticks: the TSC counts 75 s.
        let at = 165 * GHZ;
        incoming.realtime_at_tsc = Some((at, 1_700_000_015_900_000_000));
        assert!(matches!(check(&outgoing, &incoming), Err(JoinError::Realtime { .. })));
        outgoing.rtc = rtc(90 * GHZ, 1_700_000_000, 90 * GHZ + 1);
        assert!(check(&outgoing, &incoming).is_err(), "one reading proves nothing");
        incoming.rtc = rtc(at, 1_700_000_075, at + 1);
        assert_eq!(check(&outgoing, &incoming), Ok(()));
        // Readings of two clocks are not compared.
        incoming.rtc = incoming.rtc.map(|rtc| RtcReading { name: "rtc-efi rtc-efi.0".into(), ..rtc });
        assert!(matches!(check(&outgoing, &incoming), Err(JoinError::Realtime { .. })));
    }

    #[test]
    fn the_rtc_may_be_off_by_its_seconds_and_the_rate_and_no_more() {
        // 2 s, and one per cent of 60 s.
        assert_eq!(
            [57_300, 57_500, 60_000, 62_500, 62_700].map(|ms| with_rtc_minute(ms).is_ok()),
            [false, true, true, true, false]
        );
    }

    #[test]
    fn a_time_stamp_counter_that_was_reset_is_refused_by_the_rtc() {
        let (mut outgoing, mut incoming) = halves();
        outgoing.rtc = rtc(90 * GHZ, 1_700_000_000, 90 * GHZ);
        incoming.rtc = rtc(GHZ, 1_700_000_015, GHZ);
        let error =
            JoinError::Rtc { tsc_ns: -89_000_000_000, rtc_ns: 15_000_000_000, tolerance_ns: 2_150_000_000 };
        assert_eq!(check(&outgoing, &incoming), Err(error));
    }

    #[test]
    fn a_time_stamp_counter_that_stood_still_for_seconds_is_refused_by_the_rtc() {
        // The realtime clock stood still as well, as that of a suspended machine does.
        let (mut outgoing, mut incoming) = halves();
        assert_eq!(check(&outgoing, &incoming), Ok(()));
        (outgoing.rtc, incoming.rtc) = (rtc(90 * GHZ, 100, 90 * GHZ), rtc(105 * GHZ, 118, 105 * GHZ));
        assert!(matches!(check(&outgoing, &incoming), Err(JoinError::Rtc { .. })));
        // Within what lost ticks would have excused.
        assert!(matches!(with_rtc_minute(50_000), Err(JoinError::Rtc { tsc_ns: 50_000_000_000, .. })));
    }

    #[test]
    fn a_slow_reading_of_the_rtc_refuses_nothing() {
        let (mut outgoing, mut incoming) = halves();
        // A stop of 60 s between the reading of the TSC and that of the RTC.
        outgoing.rtc = rtc(20 * GHZ, 1_700_000_000, 80 * GHZ);
        incoming.rtc = rtc(105 * GHZ, 1_700_000_025, 105 * GHZ);
        assert_eq!(check(&outgoing, &incoming), Ok(()));
        incoming.rtc = rtc(105 * GHZ, 1_700_000_085, 105 * GHZ);
        assert_eq!(check(&outgoing, &incoming), Ok(()));
        incoming.rtc = rtc(105 * GHZ, 1_700_000_089, 105 * GHZ);
        assert!(check(&outgoing, &incoming).is_err());
    }

    proptest! {
        #[test]
        fn any_values_are_answered(a in any::<(u64, u64)>(), b in any::<(u64, u64)>(), hz in 1..u64::MAX) {
            let half = |at| Half { realtime_at_tsc: Some(at), hz: Hz::new(hz), ..Half::default() };
            let forward = check(&half(a), &half(b));
            prop_assert_eq!(check(&half(a), &half(a)), Ok(()));
            if let Err(error) = forward {
                let named = matches!(error, JoinError::Realtime { .. });
                prop_assert!(named);
            }
        }

        #[test]
        fn any_readings_of_the_rtc_are_answered(
            a in any::<(u64, u64, u64)>(), b in any::<(u64, u64, u64)>(), hz in 1..u64::MAX,
        ) {
            let half = |(before, seconds, after)| {
                Half { rtc: rtc(before, seconds, after), hz: Hz::new(hz), ..Half::default() }
            };
            if let Err(error) = check(&half(a), &half(b)) {
                let named = matches!(error, JoinError::Rtc { .. });
                prop_assert!(named);
            }
        }
    }
}
