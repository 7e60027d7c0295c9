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
//! With these brackets the clock is an ordinary line ([`Mapping`]) of 1 us resolution, one for each
//! regime of `sched_clock`'s rate. A stamp's error is half of what all brackets leave:
//!
//! ```text
//! 2 * error <= narrowest bracket + 2 us of log resolution + distance * (r_high - r_low)
//! ```
//!
//! Log time 0 is the instant at which the kernel started its TSC clock (`cyc2ns_init_boot_cpu`,
//! arch/x86/kernel/tsc.c), by extrapolation.

use std::collections::HashMap;

use super::line::{Anchor, ClockError, Mapping, Stamp, stamp};
use super::rate::{Rate, Slope};

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

/// A stretch of log time with one `sched_clock` rate.
///
/// The kernel changes the rate right after it prints "tsc: Refined TSC clocksource calibration"
/// (`tsc_refine_calibration_work`): that line ends the early regime, and the next line that is surely
/// later begins the second.
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
    /// In order of log time; never empty.
    regimes: Vec<(Regime, Mapping)>,
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
    /// written to `/dev/kmsg` between two TSC readings). `regimes` in order of time, at least one.
    ///
    /// A regime without evidence of its own is tied to its neighbour, as the clock does not jump.
    ///
    /// # Errors
    /// [`ClockError::NoAnchors`] without regime or evidence, [`ClockError::Slope`].
    pub fn fit(pairs: &[Pair], readings: &[Anchor], regimes: &[Regime]) -> Result<Self, ClockError> {
        let mut evidence = anchors(pairs);
        evidence.extend(readings.iter().filter(|anchor| anchor.value_ns > 0));
        let mut fitted: Vec<(Regime, Option<Mapping>)> = Vec::new();
        for &regime in regimes {
            let own: Vec<Anchor> = evidence
                .iter()
                .copied()
                .filter(|anchor| (regime.first_ns..=regime.last_ns).contains(&anchor.value_ns))
                .collect();
            let mapping = match Mapping::fit(&own, Some(regime.slope), RESOLUTION_NS) {
                Err(ClockError::NoAnchors) => None,
                other => Some(other?),
            };
            fitted.push((regime, mapping));
        }
        // Backwards and then forwards, so that everything reaches evidence.
        for at in (0..fitted.len()).rev().chain(0..fitted.len()) {
            let neighbour = [at.checked_add(1), at.checked_sub(1)].into_iter().flatten().find_map(|index| {
                let (regime, mapping) = fitted.get(index)?;
                Some((*regime, mapping.clone()?))
            });
            if let (Some((regime, mapping @ None)), Some(neighbour)) = (fitted.get_mut(at), neighbour) {
                *mapping = Some(continued(regime, &neighbour)?);
            }
        }
        let regimes: Vec<_> =
            fitted.into_iter().filter_map(|(regime, mapping)| Some((regime, mapping?))).collect();
        if regimes.is_empty() { Err(ClockError::NoAnchors) } else { Ok(Self { regimes }) }
    }

    /// The TSC when the kernel log's clock showed `log_ns`.
    ///
    /// Between two regimes, where the instant of the change is not known, the error covers both.
    pub fn to_tsc(&self, log_ns: u64) -> Stamp {
        let at = self.regimes.partition_point(|(regime, _)| regime.last_ns < log_ns);
        let before = at.checked_sub(1).and_then(|before| self.regimes.get(before));
        let (low, high) = match (before, self.regimes.get(at)) {
            (Some(before), Some(next)) if log_ns < next.0.first_ns => {
                let (one, other) = (bounds(&before.1, log_ns), bounds(&next.1, log_ns));
                (one.0.min(other.0), one.1.max(other.1))
            }
            (_, Some((_, mapping))) | (Some((_, mapping)), None) => bounds(mapping, log_ns),
            (None, None) => (0, i128::MAX),
        };
        stamp(low, high)
    }

    /// The TSC at log time 0.
    pub fn epoch(&self) -> Stamp {
        self.to_tsc(0)
    }

    /// Lines that contradict later ones of their regime and were not used.
    pub fn dropped(&self) -> usize {
        self.regimes.iter().map(|(_, mapping)| mapping.dropped()).sum()
    }
}

fn bounds(mapping: &Mapping, log_ns: u64) -> (i128, i128) {
    mapping.interval(log_ns).unwrap_or_else(|| mapping.hull(log_ns))
}

/// A regime that hangs on its neighbour: one anchor at the neighbour's border, widened by what the
/// unknown instant of the change between the two can amount to.
fn continued(regime: &Regime, (other, mapping): &(Regime, Mapping)) -> Result<Mapping, ClockError> {
    let rate = |slope| Rate::of(slope).ok_or(ClockError::Slope(slope));
    let (own, theirs) = (rate(regime.slope)?, rate(other.slope)?);
    let earlier = regime.first_ns <= other.first_ns;
    let border_ns = if earlier { other.first_ns } else { other.last_ns };
    let gap_ns = if earlier {
        other.first_ns.saturating_sub(regime.last_ns)
    } else {
        regime.first_ns.saturating_sub(other.last_ns)
    };
    let both = own.hull(theirs);
    let slack = both.most(gap_ns.into()) - both.least(gap_ns.into());
    let (low, high) = bounds(mapping, border_ns);
    let edge = stamp(low - slack, high + slack);
    let anchor = Anchor {
        value_ns: border_ns,
        before: edge.ticks.saturating_sub(edge.error_ticks),
        after: edge.ticks.saturating_add(edge.error_ticks),
    };
    Mapping::fit(&[anchor], Some(regime.slope), RESOLUTION_NS)
}

#[cfg(test)]
#[path = "one_sided_tests.rs"]
mod tests;
