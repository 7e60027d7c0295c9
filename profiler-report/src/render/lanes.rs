//! Spans -> lanes: rows in which spans that overlap are nested, as trace viewers want them.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    catalogue::Place,
    report::{Report, Span},
};

/// A span and where it stands in the report.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The span.
    pub span: &'a Span,
    /// Index of its phase; `None` before the window.
    pub phase: Option<usize>,
    /// Whose it is: the outgoing kernel's or the incoming kernel's.
    pub kernel: Place,
    /// Its end; its start if the end was not seen.
    pub end_ns: i64,
    /// How many spans of the report enclose it.
    pub depth: usize,
}

/// What makes a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// One task.
    Task,
    /// One CPU, by where the span began.
    Cpu,
}

/// A row of a picture, as high as its spans nest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which kernel.
    pub kernel: Place,
    /// For a person.
    pub title: String,
    /// Levels of nesting.
    pub levels: usize,
}

/// Where one item lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Index of the lane.
    pub lane: usize,
    /// How many spans enclose it there.
    pub level: usize,
}

/// All spans of a report, outer before inner, brownout first.
pub fn items(report: &Report) -> Vec<Item<'_>> {
    let phases = report.phases.iter().enumerate().map(|(index, phase)| {
        // In the dark no kernel sees anything: what begins at its first instant is the outgoing one's.
        let kernel = if phase.kernel == Place::Incoming { Place::Incoming } else { Place::Outgoing };
        (Some(index), kernel, &phase.spans)
    });
    let mut items = Vec::new();
    for (phase, kernel, spans) in std::iter::once((None, Place::Outgoing, &report.brownout)).chain(phases) {
        let mut rest: Vec<(&Span, usize)> = spans.iter().rev().map(|span| (span, 0)).collect();
        while let Some((span, depth)) = rest.pop() {
            let length = i64::try_from(span.duration_ns.unwrap_or(0)).unwrap_or(i64::MAX);
            items.push(Item { span, phase, kernel, end_ns: span.start_ns.saturating_add(length), depth });
            rest.extend(span.spans.iter().rev().map(|inner| (inner, depth + 1)));
        }
    }
    items
}

/// Gives every item a lane and a level: in one lane, spans of one level never overlap, and each lies
/// inside one of the level above. Lanes are ordered by kernel, then by when they are first used; a task
/// (or CPU) whose spans overlap without nesting gets several.
pub fn seat(items: &[Item], by: Grouping) -> (Vec<Lane>, Vec<Seat>) {
    let mut groups: BTreeMap<(Place, Option<u32>), Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let key = match by {
            Grouping::Task => item.span.pid,
            Grouping::Cpu => item.span.cpu,
        };
        groups.entry((item.kernel, key)).or_default().push(index);
    }
    let order =
        |index: &usize| items.get(*index).map(|item| (item.span.start_ns, Reverse(item.end_ns), *index));
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, members) in &mut groups {
        members.sort_by_key(order);
    }
    groups.sort_by_key(|((kernel, _), members)| (*kernel, members.first().and_then(order)));
    let mut lanes = Vec::new();
    let mut seats = vec![Seat { lane: 0, level: 0 }; items.len()];
    for ((kernel, key), members) in groups {
        let title = title(items, &members, by, key);
        let first = lanes.len();
        // Ends of the spans that are open, lane by lane.
        let mut open: Vec<Vec<i64>> = Vec::new();
        for index in members {
            let Some(item) = items.get(index) else { continue };
            let place = open.iter_mut().position(|ends| {
                while ends.last().is_some_and(|end| *end <= item.span.start_ns) {
                    ends.pop();
                }
                ends.last().is_none_or(|end| *end >= item.end_ns)
            });
            let place = place.unwrap_or_else(|| {
                open.push(Vec::new());
                let number = open.len();
                let title = if number == 1 { title.clone() } else { format!("{title} #{number}") };
                lanes.push(Lane { kernel, title, levels: 0 });
                number - 1
            });
            let (Some(ends), Some(lane), Some(seat)) =
                (open.get_mut(place), lanes.get_mut(first + place), seats.get_mut(index))
            else {
                continue;
            };
            *seat = Seat { lane: first + place, level: ends.len() };
            ends.push(item.end_ns);
            lane.levels = lane.levels.max(ends.len());
        }
    }
    (lanes, seats)
}

fn title(items: &[Item], members: &[usize], by: Grouping, key: Option<u32>) -> String {
    match (by, key) {
        (Grouping::Cpu, Some(cpu)) => format!("CPU {cpu}"),
        (Grouping::Cpu, None) => "CPU unknown".to_owned(),
        (Grouping::Task, None) => "task unknown".to_owned(),
        (Grouping::Task, Some(pid)) => {
            let comm = members.iter().find_map(|index| items.get(*index)?.span.comm.as_deref());
            comm.map_or(format!("task {pid}"), |comm| format!("{comm} {pid}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{report, span};
    use proptest::prelude::*;

    #[test]
    fn nested_spans_share_a_lane_and_crossing_ones_do_not() {
        let spans =
            vec![span("outer", 0, 100), span("inner", 10, 20), span("next", 30, 70), span("cross", 90, 20)];
        let report = report(spans);
        let items = items(&report);
        let (lanes, seats) = seat(&items, Grouping::Task);
        let titles: Vec<&str> = lanes.iter().map(|lane| lane.title.as_str()).collect();
        assert_eq!(titles, ["init 1", "init 1 #2"]);
        let seats: Vec<(usize, usize)> = seats.iter().map(|seat| (seat.lane, seat.level)).collect();
        assert_eq!(seats, [(0, 0), (0, 1), (0, 1), (1, 0)]);
        assert_eq!(lanes[0].levels, 2);
    }

    proptest! {
        #[test]
        fn one_level_of_a_lane_never_overlaps(times in proptest::collection::vec((0i64..500, 0u64..200), 0..60)) {
            let spans = times.iter().map(|(start, length)| span("s", *start, *length)).collect();
            let report = report(spans);
            let items = items(&report);
            let (lanes, seats) = seat(&items, Grouping::Cpu);
            let mut rows: BTreeMap<(usize, usize), Vec<(i64, i64)>> = BTreeMap::new();
            for (item, seat) in items.iter().zip(&seats) {
                prop_assert!(seat.level < lanes[seat.lane].levels);
                rows.entry((seat.lane, seat.level)).or_default().push((item.span.start_ns, item.end_ns));
            }
            for row in rows.values_mut() {
                row.sort_unstable();
                prop_assert!(row.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            }
        }
    }
}
