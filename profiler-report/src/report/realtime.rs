//! When it was, for people and for the clocks of other systems.

use super::axis::Axis;
use crate::stitch::{Half, Stitched};

/// Realtime at 0 of the axis, nanoseconds since 1970.
///
/// By the outgoing kernel's clock, which had all its uptime to be set right; the incoming one has just read it from a
/// clock of whole seconds (RTC).
pub fn origin(stitched: &Stitched, axis: &Axis) -> Option<u64> {
    [&stitched.outgoing, &stitched.incoming].into_iter().find_map(|half| by(half, axis))
}

/// By one kernel: its reading nearest to 0, for ticks and realtime drift apart over hours; of those of one burst the
/// one that took least time.
fn by(half: &Half, axis: &Axis) -> Option<u64> {
    let anchors = half.anchors.iter().flat_map(|anchors| &anchors.readings);
    let anchors = anchors.filter(|(clock, ..)| clock == "realtime");
    let readings = anchors.map(|&(_, before, value, after)| (before, value, after.saturating_sub(before)));
    let kernel = half.kernel.as_ref().and_then(|kernel| kernel.realtime_at_tsc);
    let readings = readings.chain(kernel.map(|(tsc, value)| (tsc, value, u64::MAX)));
    /// Readings within a millisecond are equally near.
    const NEAR_NS: u64 = 1_000_000;
    let (before, value, took) =
        readings.min_by_key(|&(before, _, took)| (axis.at(before).unsigned_abs() / NEAR_NS, took))?;
    let middle = before.saturating_add(if took == u64::MAX { 0 } else { took / 2 });
    value.checked_add_signed(axis.at(middle).checked_neg()?)
}
