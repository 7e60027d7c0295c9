//! One clock against the TSC, from readings that the TSC brackets.
//!
//! An anchor says that the clock showed `value` at some instant when the TSC was in `[before, after]`.
//! With the rate `r` (ticks a nanosecond) in `[r_low, r_high]` and a clock of resolution `q`, the TSC at
//! clock value `v` then lies, for every anchor, in
//!
//! ```text
//! [ before + least(v - value - q),  after + most(v - value + q) ]
//! least(d) = min(d * r_low, d * r_high)    most(d) = max(d * r_low, d * r_high)
//! ```
//!
//! and so in the intersection over all anchors. The estimate is its middle, the error half its width:
//! the bound holds for as long as the clock is a straight line, and grows with the distance from the
//! anchors by the uncertainty of the rate. Without a known rate, `[r_low, r_high]` is what every pair of
//! anchors allows.

use super::rate::{Rate, Slope};

/// Anchors beyond this many are thinned, evenly; fewer anchors widen errors, never falsify them.
const ANCHORS_MAX: usize = 512;

/// One reading of a clock between two readings of the TSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// What the clock showed, nanoseconds.
    pub value_ns: u64,
    /// A TSC from before that instant, ticks.
    pub before: u64,
    /// A TSC from after it, ticks.
    pub after: u64,
}

/// An instant on the TSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Best estimate, ticks.
    pub ticks: u64,
    /// The truth is no further away than this, ticks.
    pub error_ticks: u64,
}

/// A clock that cannot be tied to the TSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Nothing to fit.
    #[error("no usable clock anchors")]
    NoAnchors,
    /// One anchor, or several too close together, give a place, not a rate.
    #[error(
        "clock anchors too few or too close together, and no known rate: anchors further apart or the TSC frequency are needed"
    )]
    NoSlope,
    /// The rate given is not one of a TSC.
    #[error("{0:?} is not a rate of a TSC")]
    Slope(Slope),
}

/// A clock tied to the TSC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Never empty.
    anchors: Vec<Anchor>,
    rate: Rate,
    resolution_ns: u64,
    dropped: usize,
}

impl Mapping {
    /// Fits a clock of `resolution_ns` (1 for a nanosecond clock, 1000 for kernel log times).
    ///
    /// Anchors that no single line can join (the kernel changes `sched_clock`'s rate when it refines
    /// the TSC calibration, about 1 s after boot: `tsc_refine_calibration_work`,
    /// arch/x86/kernel/tsc.c) are left out from the oldest side: the latest regime wins. How many is
    /// in [`Mapping::dropped`]. As the anchors next to a change cannot be told from good ones, with a
    /// known rate only the latest anchor is used then, and its width is the error. A change too small
    /// to contradict any anchor moves the estimate by no more than the latest anchor's width.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn fit(anchors: &[Anchor], slope: Option<Slope>, resolution_ns: u64) -> Result<Self, ClockError> {
        let mut usable = usable(anchors);
        usable.reverse();
        let mut mapping = Self::grow(&usable, slope, resolution_ns)?;
        if slope.is_some() && mapping.dropped > 0 {
            mapping.anchors.truncate(1);
        }
        Ok(mapping)
    }

    /// The same for a clock that runs straight first and departs from its line later: of contradicting
    /// anchors the oldest win. The later half of the anchors that agree is then left out too, as those
    /// next to the departure cannot be told from good ones.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn fit_earliest(anchors: &[Anchor], slope: Slope, resolution_ns: u64) -> Result<Self, ClockError> {
        let mut mapping = Self::grow(&usable(anchors), Some(slope), resolution_ns)?;
        if mapping.dropped > 0 {
            mapping.anchors.truncate(mapping.anchors.len().div_ceil(2));
        }
        Ok(mapping)
    }

    /// Takes anchors from the first on for as long as one line joins them.
    fn grow(anchors: &[Anchor], slope: Option<Slope>, resolution_ns: u64) -> Result<Self, ClockError> {
        let known = match slope {
            Some(slope) => Some(Rate::of(slope).ok_or(ClockError::Slope(slope))?),
            None => None,
        };
        let (&first, rest) = anchors.split_first().ok_or(ClockError::NoAnchors)?;
        let mut mapping =
            Self { anchors: vec![first], rate: known.unwrap_or(Rate::ANY), resolution_ns, dropped: 0 };
        for anchor in rest {
            if known.is_none() {
                let Some(rate) = mapping.narrowed(anchor) else { break };
                mapping.rate = rate;
            } else if !mapping.agrees(anchor) {
                break;
            }
            mapping.anchors.push(*anchor);
        }
        mapping.dropped = anchors.len() - mapping.anchors.len();
        if mapping.rate.low <= 0 || mapping.rate.high >= Rate::ANY.high {
            return Err(ClockError::NoSlope);
        }
        Ok(mapping)
    }

    /// Anchors that are not used because they contradict others.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The TSC when the clock showed `value_ns`.
    pub fn to_tsc(&self, value_ns: u64) -> Stamp {
        let (low, high) = self.interval(value_ns).unwrap_or_else(|| self.hull(value_ns));
        stamp(low, high)
    }

    /// Bounds of the TSC at a value, ticks; `None` if the anchors leave nothing: no line joins them.
    pub(super) fn interval(&self, value_ns: u64) -> Option<(i128, i128)> {
        let brackets =
            self.anchors.iter().map(|anchor| bracket(anchor, self.rate, value_ns, self.resolution_ns));
        let (low, high) =
            brackets.fold((i128::MIN, i128::MAX), |all, one| (all.0.max(one.0), all.1.min(one.1)));
        (low <= high).then_some((low, high))
    }

    /// What at least one anchor allows.
    pub(super) fn hull(&self, value_ns: u64) -> (i128, i128) {
        let brackets =
            self.anchors.iter().map(|anchor| bracket(anchor, self.rate, value_ns, self.resolution_ns));
        brackets.fold((i128::MAX, i128::MIN), |all, one| (all.0.min(one.0), all.1.max(one.1)))
    }

    /// First and last clock value of the anchors used.
    pub(super) fn span_ns(&self) -> (u64, u64) {
        let values = self.anchors.iter().map(|anchor| anchor.value_ns);
        values.fold((u64::MAX, 0), |(first, last), value| (first.min(value), last.max(value)))
    }

    fn agrees(&self, anchor: &Anchor) -> bool {
        let own = bracket(anchor, self.rate, anchor.value_ns, self.resolution_ns);
        self.interval(anchor.value_ns).is_some_and(|all| own.0 <= all.1 && all.0 <= own.1)
    }

    /// The rate that also joins `anchor` to every anchor so far.
    fn narrowed(&self, anchor: &Anchor) -> Option<Rate> {
        let resolution = i128::from(self.resolution_ns);
        self.anchors.iter().try_fold(self.rate, |rate, other| {
            let (early, late) =
                if other.value_ns <= anchor.value_ns { (other, anchor) } else { (anchor, other) };
            let ns = i128::from(late.value_ns) - i128::from(early.value_ns);
            let ticks = (
                i128::from(late.before) - i128::from(early.after),
                i128::from(late.after) - i128::from(early.before),
            );
            rate.and(Rate::between(ticks, (ns - resolution, ns + resolution)))
        })
    }
}

/// Bounds that one anchor gives for the TSC at a value, ticks.
fn bracket(anchor: &Anchor, rate: Rate, value_ns: u64, resolution_ns: u64) -> (i128, i128) {
    let distance = i128::from(value_ns) - i128::from(anchor.value_ns);
    let resolution = i128::from(resolution_ns);
    (
        i128::from(anchor.before) + rate.least(distance - resolution),
        i128::from(anchor.after) + rate.most(distance + resolution),
    )
}

/// Middle and half width, rounded so that the bounds stay inside.
pub(super) fn stamp(low: i128, high: i128) -> Stamp {
    let clamp = |ticks: i128| u64::try_from(ticks.max(0)).unwrap_or(u64::MAX);
    let (low, high) = (clamp(low), clamp(high));
    let ticks = low + (high - low) / 2;
    Stamp { ticks, error_ticks: high - ticks }
}

/// Anchors that say something, in order of value; of very many every n-th, and the last.
fn usable(anchors: &[Anchor]) -> Vec<Anchor> {
    let mut usable: Vec<Anchor> =
        anchors.iter().copied().filter(|anchor| anchor.before <= anchor.after).collect();
    usable.sort_unstable_by_key(|anchor| (anchor.value_ns, anchor.after));
    let step = usable.len().div_ceil(ANCHORS_MAX).max(1);
    let mut thinned: Vec<Anchor> = usable.into_iter().rev().step_by(step).collect();
    thinned.reverse();
    thinned
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
