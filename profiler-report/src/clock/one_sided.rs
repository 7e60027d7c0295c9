//! Kernel log times on the TSC.
//!
//! The trace event `printk:console`, stamped with the raw TSC, follows the `local_clock()` reading of
//! its own line (`vprintk_store` takes the time, `printk_sprint` emits the event; kernel/printk/printk.c,
//! Linux 7.3). So a pair is an upper bound: the log showed `log_ns` no later than `tsc`. The lower bound
//! is the event of the line before it **on the same CPU**: that line was done when this one took its
//! time. Lines that come in one burst bracket each other within some 10 us. Where an interrupt printed
//! between a line's time and its event, log times run backwards along the events; such a line takes the
//! nearest earlier event with a smaller time. (Two preemptions inside `vprintk_store` could still forge
//! a bound; it then contradicts the others, and [`LogClock::dropped`] tells.)
//!
//! The log's clock is `sched_clock`, a straight line of the TSC, only until `sched_clock_init` and again
//! from `sched_clock_init_late` on ("sched_clock: Marking stable"). In between the kernel does not trust
//! the TSC yet and corrects the clock at every tick, and it stands still while there are no ticks
//! (`sched_clock_local`, kernel/sched/clock.c, Linux 7.3): seen in the lab, it jumped 108 ms against the
//! TSC. So a time on a known line is bounded by that line ([`Mapping`]),
//!
//! ```text
//! 2 * error <= narrowest bracket + 2 us of log resolution + distance * (r_high - r_low)
//! ```
//!
//! and every other by its own line's bracket, or by the brackets of the lines around it: the clock never
//! runs backwards. Log time 0 is the instant at which the kernel started its TSC clock
//! (`cyc2ns_init_boot_cpu`, arch/x86/kernel/tsc.c), extrapolated on the first line.

use std::collections::HashMap;

use super::line::{Anchor, ClockError, Mapping, Stamp, stamp};
use super::rate::Slope;

/// Kernel log times have microseconds.
const RESOLUTION_NS: u64 = 1000;

/// One log line that a trace event stamped as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The line's own time, nanoseconds (whole microseconds).
    pub log_ns: u64,
    /// Its `printk:console` event, ticks.
    pub tsc: u64,
    /// The CPU of the event.
    pub cpu: u32,
}

/// A stretch of log time that is a straight line of the TSC.
///
/// Best given with the borders that the log itself tells: the first ends before "Calibrating delay loop"
/// (the first message after `sched_clock_init`, init/main.c); the second begins with "sched_clock:
/// Marking stable" and ends with "tsc: Refined TSC clocksource calibration", which is printed right
/// before the rate changes (`tsc_refine_calibration_work`, arch/x86/kernel/tsc.c); the third begins with
/// the first line that is surely later, and has no end. Where one holds less far back than it says, or the
/// first less long, lines that contradict it are noticed and it is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regime {
    /// First log time that is surely in it, nanoseconds.
    pub first_ns: u64,
    /// Last log time that is surely in it, nanoseconds.
    pub last_ns: u64,
    /// The rate.
    pub slope: Slope,
}

/// The kernel log's clock tied to the TSC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogClock {
    brackets: Brackets,
    /// First and last log time of each line, nanoseconds, and the line.
    lines: Vec<(u64, u64, Mapping)>,
    dropped: usize,
}

/// Two-sided anchors out of one-sided pairs (see the module's text). Lines without a time (0, before
/// the clock runs) give none, but bound the ones after them.
pub fn anchors(pairs: &[Pair]) -> Vec<Anchor> {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable_by_key(|pair| pair.tsc);
    // Per CPU, events with both times rising: the last one left bounds the next line.
    let mut earlier: HashMap<u32, Vec<Pair>> = HashMap::new();
    let mut anchors = Vec::new();
    for pair in pairs {
        let rising = earlier.entry(pair.cpu).or_default();
        while rising.pop_if(|last| last.log_ns >= pair.log_ns).is_some() {}
        let before = rising.last().map_or(0, |last| last.tsc);
        rising.push(pair);
        if pair.log_ns > 0 {
            anchors.push(Anchor { value_ns: pair.log_ns, before, after: pair.tsc });
        }
    }
    anchors
}

impl LogClock {
    /// Ties the log to the TSC by `pairs` and, where there are any, `readings` of user space (a line
    /// written to `/dev/kmsg` between two TSC readings). `regimes` in order of time.
    ///
    /// # Errors
    /// [`ClockError::NoAnchors`] without evidence, [`ClockError::Slope`].
    pub fn fit(pairs: &[Pair], readings: &[Anchor], regimes: &[Regime]) -> Result<Self, ClockError> {
        let mut evidence = anchors(pairs);
        evidence
            .extend(readings.iter().filter(|anchor| anchor.value_ns > 0 && anchor.before <= anchor.after));
        if evidence.is_empty() {
            return Err(ClockError::NoAnchors);
        }
        let (mut lines, mut dropped) = (Vec::new(), 0);
        for (at, regime) in regimes.iter().enumerate() {
            let within = regime.first_ns..=regime.last_ns;
            let own: Vec<Anchor> =
                evidence.iter().copied().filter(|anchor| within.contains(&anchor.value_ns)).collect();
            if own.is_empty() {
                continue;
            }
            let line = Mapping::fit(&own, Some(regime.slope), RESOLUTION_NS)?;
            dropped += line.dropped();
            if line.dropped() == 0 {
                lines.push((regime.first_ns, regime.last_ns, line));
                continue;
            }
            if at == 0 {
                let line = Mapping::fit_earliest(&own, regime.slope, RESOLUTION_NS)?;
                lines.push((regime.first_ns, line.span_ns().1, line));
            }
            lines.push((line.span_ns().0, regime.last_ns, line));
        }
        Ok(Self { brackets: Brackets::new(evidence), lines, dropped })
    }

    /// The TSC when the kernel log's clock showed `log_ns`. Where nothing is known the error says so.
    pub fn to_tsc(&self, log_ns: u64) -> Stamp {
        let around = self.brackets.around(log_ns);
        let lines = self.lines.iter().filter(|(from, to, _)| (*from..=*to).contains(&log_ns));
        let (low, high) = lines
            .filter_map(|(_, _, line)| line.interval(log_ns))
            .fold(around, |all, one| (all.0.max(one.0), all.1.min(one.1)));
        if low <= high { stamp(low, high) } else { stamp(around.0, around.1) }
    }

    /// The TSC at log time 0.
    pub fn epoch(&self) -> Stamp {
        self.to_tsc(0)
    }

    /// Lines of the log that are not on the straight line they were given for.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

/// Bounds that need no line: the log's clock never runs backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Brackets {
    /// In order of value, `before` the largest so far, `after` the smallest from there on.
    rising: Vec<Anchor>,
    /// As they were given, in the same order.
    own: Vec<Anchor>,
}

impl Brackets {
    fn new(mut own: Vec<Anchor>) -> Self {
        own.sort_unstable_by_key(|anchor| (anchor.value_ns, anchor.after));
        let mut rising = own.clone();
        let mut largest = 0;
        for anchor in &mut rising {
            largest = anchor.before.max(largest);
            anchor.before = largest;
        }
        let mut smallest = u64::MAX;
        for anchor in rising.iter_mut().rev() {
            smallest = anchor.after.min(smallest);
            anchor.after = smallest;
        }
        Self { rising, own }
    }

    /// Bounds of the TSC at a log time, ticks. Lines of the same microsecond have no order among them.
    fn around(&self, log_ns: u64) -> (i128, i128) {
        let begin = self.own.partition_point(|anchor| anchor.value_ns < log_ns);
        let end = self.own.partition_point(|anchor| anchor.value_ns <= log_ns);
        let before =
            begin.checked_sub(1).and_then(|at| self.rising.get(at)).map_or(0, |anchor| anchor.before);
        let after = self.rising.get(end).map_or(u64::MAX, |anchor| anchor.after);
        let same = self.own.get(begin..end).unwrap_or_default();
        let low = same.iter().map(|anchor| anchor.before).min().unwrap_or(0).max(before);
        let high = same.iter().map(|anchor| anchor.after).max().unwrap_or(u64::MAX).min(after);
        if low <= high { (low.into(), high.into()) } else { (high.into(), low.into()) }
    }
}

#[cfg(test)]
#[path = "one_sided_tests.rs"]
mod tests;
