//! Milestones of a boot that nobody could watch, out of the kernel's log.
//!
//! Times are good enough to look at: the log's clock is one line of the TSC before `sched_clock_init` and
//! another after "sched_clock: Marking stable", and follows the timer tick between them (see
//! [`profiler_report::clock`]). The report, which has more evidence, corrects them.

use profiler_report::{
    catalogue::Milestone,
    evidence::kmsg::KmsgLine,
    recording::{Side, frame::Scale},
    stitch::Moment,
};
use profiler_watch::message::{Message, log_milestone};

/// How far the tick was seen to leave the log's clock behind: 108 ms in the lab.
const ERROR_NS: u64 = 110_000_000;

/// The incoming kernel's phase borders among `lines`, by time, with the first instant of its clock.
/// `scale` is the kernel's conversion now.
pub fn milestones(lines: &[KmsgLine], scale: Scale) -> Vec<Message> {
    let marked = |line: &&KmsgLine| line.is_kernel() && line.text.starts_with("sched_clock: Marking stable");
    let stable = lines.iter().find(marked);
    // "sched_clock: Marking stable (A, B)->(C, D)": D is `__sched_clock_offset` (kernel/sched/clock.c, 7.3).
    let last_number = stable.and_then(|line| line.text.trim_end_matches(')').rsplit([' ', ',']).next());
    let offset_ns: i64 = last_number.and_then(|text| text.parse().ok()).unwrap_or(0);
    let at = |ts_us: u64| {
        let offset_ns = if stable.is_some_and(|stable| ts_us >= stable.ts_us) { 0 } else { offset_ns };
        ticks(scale, i128::from(ts_us) * 1000 + i128::from(offset_ns))
    };
    let error_ticks = ticks(Scale { zero_ns: 0, ..scale }, i128::from(ERROR_NS)).unwrap_or(0);
    let message = |milestone: &Milestone, ticks| {
        Message::milestone(Side::Incoming, milestone, Moment { ticks, error_ticks })
    };
    let epoch = at(0).map(|ticks| message(&Milestone::ClockEpoch, ticks));
    let borders = lines.iter().filter(|line| line.is_kernel() && line.ts_us > 0);
    let borders = borders.filter_map(|line| Some(message(&log_milestone(&line.text)?, at(line.ts_us)?)));
    epoch.into_iter().chain(borders).collect()
}

/// TSC at which `sched_clock` showed `ns`; `None` where there was none.
fn ticks(scale: Scale, ns: i128) -> Option<u64> {
    // `time_zero` wraps: it may be negative.
    let since = ns - i128::from(scale.zero_ns as i64);
    let scaled = since.checked_mul(1_i128.checked_shl(scale.shift.into())?)?;
    u64::try_from(scaled.checked_div(scale.mult.into())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ts_us: u64, text: &str) -> KmsgLine {
        KmsgLine { seq: 0, ts_us, level: 6, facility: 0, text: text.to_owned(), caller: None }
    }

    #[test]
    fn borders_get_the_tsc_of_their_stretch() {
        // 2 ticks a nanosecond; the clock's first instant was at tick 1000.
        let scale = Scale { mult: 1 << 9, shift: 10, zero_ns: (-500_i64) as u64 };
        let lines = [
            line(0, "Linux version 7.3.4"),
            line(3, "smp: Bringing up secondary CPUs ..."),
            line(5, "sched_clock: Marking stable (5, 0)->(5, 100)"),
            line(6, "Run /init as init process"),
        ];
        let seen: Vec<(String, u64)> = milestones(&lines, scale)
            .into_iter()
            .map(|message| match message {
                Message::Milestone { name, tsc, .. } => (name, tsc),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("clock epoch", 1200),
            ("log smp: Bringing up secondary CPUs", 7200),
            ("log as init process", 13_000),
        ];
        assert_eq!(seen, expected.map(|(name, tsc)| (name.to_owned(), tsc)));
    }

    #[test]
    fn a_scale_that_is_none_gives_nothing() {
        let lines = [line(3, "smp: Bringing up secondary CPUs ...")];
        assert_eq!(milestones(&lines, Scale { mult: 0, shift: 900, zero_ns: u64::MAX }), []);
    }
}
