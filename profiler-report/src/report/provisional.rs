//! What a report will say, as far as a stream has told: window and phases up to the last thing heard, and
//! their spans. Everything else of it is empty, and its outcome is `partial`.

use super::{
    axis::Axis,
    spans::{Divided, divide},
    *,
};
use crate::{
    catalogue::CATALOGUE,
    clock::Hz,
    recording::Side,
    stitch::{Moment, Sighting},
    timeline::{self, Call, Milestones, Tasks},
};

/// Builds it of calls of both kernels and of milestones that are no calls, each kernel's in order of time.
pub fn build(calls: &[Call], marks: &[Sighting], hz: Hz) -> Report {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| (call.side, call.enter.ticks));
    let milestones = Milestones::new(marks, &calls, &[]);
    let of = |side: Side| {
        let calls = calls.iter().filter(move |call| call.side == side);
        let calls = calls.flat_map(|call| [Some(call.enter), call.exit]).flatten();
        let marks = marks.iter().filter(move |mark| mark.side == side).map(|mark| mark.at);
        let all: Vec<Moment> = calls.chain(marks).collect();
        Some((*all.iter().min()?, *all.iter().max()?))
    };
    let outgoing_last = of(Side::Outgoing).map(|(_, last)| last);
    let ends = CATALOGUE.host_window.as_ref().filter(|_| outgoing_last.is_some()).and_then(|definition| {
        let begun = definition
            .begin
            .iter()
            .any(|begin| !milestones.occurrences(begin, Some(Side::Outgoing)).is_empty());
        let incoming = of(Side::Incoming);
        (begun || incoming.is_some())
            .then(|| timeline::host_window(definition, &milestones, None, incoming, outgoing_last))?
    });
    let axis = Axis { origin: ends.as_ref().map_or(0, |ends| ends.start.ticks), hz };
    let cells =
        ends.as_ref().map_or_else(Vec::new, |ends| timeline::partition(&CATALOGUE.phases, &milestones, ends));
    let Divided { brownout, phases, attributed_ns } =
        divide(&cells, calls, &Tasks::default(), marks, ends.as_ref(), &axis);
    let window = ends.as_ref().map(|ends| Window {
        definition: "host".to_owned(),
        start: ends.starts_with.clone(),
        end: ends.ends_with.clone(),
        duration_ns: axis.between(ends.start, ends.end),
        error_ns: axis.error(ends.start.error_ticks.saturating_add(ends.end.error_ticks)),
        ..Window::default()
    });
    let unobserved = phases.iter().filter(|phase| phase.id == timeline::UNOBSERVED);
    let errors = cells.iter().map(|cell| axis.error(cell.begin.error_ticks));
    Report {
        unobserved_ns: unobserved.map(|phase| phase.duration_ns).sum(),
        attributed_ns,
        clock: Clock {
            source: "tsc".to_owned(),
            hz: hz.get(),
            error_ns: errors.max().unwrap_or(0),
            origin_unix_ns: None,
        },
        window,
        phases,
        brownout,
        schema: SCHEMA.to_owned(),
        ..Report::default()
    }
}

/// A kernel of which only the release is known.
pub fn kernel(release: &str) -> Kernel {
    Kernel { release: release.to_owned(), ..Kernel::default() }
}
