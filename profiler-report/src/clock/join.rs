//! Do two halves belong to one live update, and does time run forward across it?

use super::ticks::Hz;

/// The realtime clock may have been set from a clock of whole seconds (RTC) in either kernel.
const RTC_RESOLUTION_NS: u64 = 2_000_000_000;
/// A TSC frequency may be wrong by 1 %: the kernel takes no refinement beyond
/// (`tsc_refine_calibration_work`, arch/x86/kernel/tsc.c).
const RATE_TOLERANCE_PERCENT: u64 = 1;
/// Before it has a counter a kernel's realtime clock counts ticks, and loses those that come while interrupts are off
/// (`clocksource_jiffies`, kernel/time/jiffies.c, Linux 7.3). Either kernel may so be behind the RTC, of which the
/// next one knows nothing: an emulated host was seen to lose a tenth of the time. No boot takes longer than that.
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
    check_realtime(outgoing, incoming)
}

fn check_realtime(outgoing: &Half, incoming: &Half) -> Result<(), JoinError> {
    let (Some(a), Some(b)) = (outgoing.realtime_at_tsc, incoming.realtime_at_tsc) else { return Ok(()) };
    let Some(hz) = outgoing.hz.or(incoming.hz) else { return Ok(()) };
    let tsc_ns = hz.since(a.0, b.0);
    let realtime_ns = i128::from(b.1) - i128::from(a.1);
    let realtime_ns = i64::try_from(realtime_ns).unwrap_or(if realtime_ns < 0 { i64::MIN } else { i64::MAX });
    let percent = |percent| realtime_ns.unsigned_abs() / 100 * percent;
    let lost_ticks_ns = percent(LOST_TICKS_PERCENT).min(LOST_TICKS_NS);
    let tolerance_ns = RTC_RESOLUTION_NS.max(percent(RATE_TOLERANCE_PERCENT)) + lost_ticks_ns;
    if tsc_ns.abs_diff(realtime_ns) > tolerance_ns {
        return Err(JoinError::Realtime { tsc_ns, realtime_ns, tolerance_ns });
    }
    Ok(())
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
    }
}
