//! Folded stacks: a flame graph of the window. Every nanosecond of it goes to exactly one stack, so the
//! weights add up to the window; where several tasks are in spans at once, the one that the phase waited
//! for (critical) is taken, else the one that came first.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    Error, display,
    lanes::{self, Grouping, Item},
};
use crate::report::Report;

/// What happens at an instant, in the order in which it counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The span of this index is over.
    End(usize),
    /// The phase of this index begins, or none: at one instant, one ends before the next begins.
    Phase(Option<usize>),
    /// The span at this level of its lane, of this index, begins.
    Begin(usize, usize),
}

/// Renders one line a stack, in the order of their names: `window;kernel;phase;span;... NANOSECONDS`.
///
/// # Errors
/// [`Error::NoWindow`].
pub fn render(report: &Report) -> Result<String, Error> {
    let window = report.window.as_ref().ok_or(Error::NoWindow)?;
    // A comment would be a stack to most readers, so the root itself says what was lost.
    let lost = display::lost(report).map(|lost| format!(", {lost}")).unwrap_or_default();
    let root = frame(&format!("{} window{lost}", window.definition));
    let mut out = String::new();
    for (stack, weight) in weights(report) {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{root};{stack} {weight}");
    }
    Ok(out)
}

fn weights(report: &Report) -> BTreeMap<String, u64> {
    let items = lanes::items(report);
    let (_, seats) = lanes::seat(&items, Grouping::Task);
    let mut events = Vec::new();
    for (index, phase) in report.phases.iter().enumerate().filter(|(_, phase)| phase.duration_ns > 0) {
        let end = phase.start_ns.saturating_add(i64::try_from(phase.duration_ns).unwrap_or(i64::MAX));
        events.extend([(phase.start_ns, Event::Phase(Some(index))), (end, Event::Phase(None))]);
    }
    for (index, (item, seat)) in items.iter().zip(&seats).enumerate() {
        if item.end_ns > item.span.start_ns {
            events.push((item.span.start_ns, Event::Begin(seat.level, index)));
            events.push((item.end_ns, Event::End(index)));
        }
    }
    events.sort_unstable();
    let mut weights = BTreeMap::new();
    // Open spans of each lane, outer first.
    let mut open: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let (mut phase, mut last) = (None, i64::MIN);
    for (at, event) in events {
        if let (Some(phase), true) = (phase, at > last) {
            *weights.entry(stack(report, phase, &items, &open)).or_insert(0) += at.abs_diff(last);
        }
        last = at;
        match event {
            Event::Phase(next) => phase = next,
            Event::Begin(_, index) => {
                let Some(seat) = seats.get(index) else { continue };
                open.entry(seat.lane).or_default().push(index);
            }
            Event::End(index) => {
                let Some(seat) = seats.get(index) else { continue };
                let Some(lane) = open.get_mut(&seat.lane) else { continue };
                lane.retain(|other| *other != index);
                if lane.is_empty() {
                    open.remove(&seat.lane);
                }
            }
        }
    }
    weights
}

fn stack(report: &Report, phase: usize, items: &[Item], open: &BTreeMap<usize, Vec<usize>>) -> String {
    let Some(phase) = report.phases.get(phase) else { return String::new() };
    let critical =
        |lane: &[usize]| lane.iter().any(|index| items.get(*index).is_some_and(|item| item.span.critical));
    let chosen = open.values().find(|lane| critical(lane)).or_else(|| open.values().next());
    let spans = chosen.into_iter().flatten().filter_map(|index| items.get(*index));
    let frames = [display::kernel(phase.kernel).to_owned(), frame(&phase.title)];
    frames.into_iter().chain(spans.map(|item| frame(&display::name(item)))).collect::<Vec<_>>().join(";")
}

/// `;` divides frames.
fn frame(text: &str) -> String {
    text.replace(';', ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{report, span};
    use proptest::prelude::*;

    #[test]
    fn every_instant_has_one_stack() {
        let mut inner = span("inner;x", 20, 10);
        inner.critical = true;
        let mut outer = span("outer", 10, 30);
        outer.spans.push(inner);
        let mut beside = span("beside", 0, 1_000);
        beside.pid = Some(9);
        let folded = render(&report(vec![beside, outer])).unwrap();
        let lines: Vec<&str> = folded.lines().collect();
        assert_eq!(
            lines,
            [
                "host window;incoming;second;beside 500",
                "host window;outgoing;first;beside 490",
                "host window;outgoing;first;outer;inner:x 10",
            ]
        );
    }

    proptest! {
        #[test]
        fn weights_add_up_to_the_window(times in proptest::collection::vec((-100i64..1_200, 0u64..400, 0u32..4), 0..60)) {
            let spans = times.iter().map(|(start, length, pid)| {
                let mut span = span("s", *start, *length);
                span.pid = Some(*pid);
                span
            });
            let folded = render(&report(spans.collect())).unwrap();
            let sum: u64 = folded.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
            prop_assert_eq!(sum, 1_000);
        }
    }
}
