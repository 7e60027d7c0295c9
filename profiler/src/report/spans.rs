//! Phases with what happened inside them.

use std::mem;

use super::{Phase, Span, axis::Axis};
use crate::{
    catalogue::Place,
    recording::Side,
    timeline::{self, Call, Cell, Ends, Node},
};

/// Spans before the window, and its phases with theirs.
pub fn phases(cells: &[Cell], calls: &[Call], ends: Option<&Ends>, axis: &Axis) -> (Vec<Span>, Vec<Phase>) {
    let Some(ends) = ends else { return (Vec::new(), Vec::new()) };
    let total = axis.between(ends.start, ends.end).max(1);
    let (before, inside): (Vec<Call>, Vec<Call>) = calls
        .iter()
        .filter(|call| call.enter.ticks < ends.end.ticks)
        .cloned()
        .partition(|call| call.enter.ticks < ends.start.ticks);
    let spans = |calls| timeline::forest(calls).iter().map(|node| span(node, axis)).collect::<Vec<Span>>();
    let cell_ends: Vec<i64> = cells.iter().map(|cell| axis.at(cell.end.ticks)).collect();
    let mut by_cell: Vec<Vec<Span>> = cells.iter().map(|_| Vec::new()).collect();
    for span in spans(inside) {
        place(span, &cell_ends, &mut by_cell);
    }
    let phases = cells.iter().zip(by_cell).map(|(cell, mut spans)| {
        spans.sort_by_key(|span| span.start_ns);
        mark_critical(&mut spans, ending_task(calls, cell));
        let duration_ns = axis.between(cell.begin, cell.end);
        Phase {
            id: cell.id.clone(),
            title: cell.title.clone(),
            kernel: cell.place,
            start_ns: axis.at(cell.begin.ticks),
            duration_ns,
            share: duration_ns as f64 / total as f64,
            error_ns: axis.error(cell.begin.error_ticks.saturating_add(cell.end.error_ticks)),
            begins_with: cell.begins_with.clone(),
            spans,
        }
    });
    let phases = phases.collect();
    (spans(before), phases)
}

fn span(node: &Node, axis: &Axis) -> Span {
    let call = &node.call;
    let duration_ns = call.exit.map(|exit| axis.between(call.enter, exit));
    let spans: Vec<Span> = node.inner.iter().map(|inner| span(inner, axis)).collect();
    let inner: u64 = spans.iter().filter_map(|span| span.duration_ns).sum();
    Span {
        name: call.name.clone(),
        kind: call.kind.clone(),
        subject: call.subject.clone(),
        start_ns: axis.at(call.enter.ticks),
        duration_ns,
        self_ns: duration_ns.map(|duration| duration.saturating_sub(inner)),
        cpu: call.cpu,
        pid: call.pid,
        comm: call.comm.clone(),
        retval: call.retval,
        critical: false,
        spans,
    }
}

/// Puts a span into the phase where it begins. What is inside it but begins in a later phase is listed
/// there: a phase shows everything that its time went to.
fn place(mut span: Span, cell_ends: &[i64], by_cell: &mut [Vec<Span>]) {
    let index = cell_ends.partition_point(|end| *end <= span.start_ns);
    let (Some(end), true) = (cell_ends.get(index), index < by_cell.len()) else { return };
    let mut later = Vec::new();
    release(&mut span, *end, &mut later);
    if let Some(cell) = by_cell.get_mut(index) {
        cell.push(span);
    }
    for span in later {
        place(span, cell_ends, by_cell);
    }
}

/// Takes out of a span what begins at `end_ns` or after.
fn release(span: &mut Span, end_ns: i64, later: &mut Vec<Span>) {
    for mut inner in mem::take(&mut span.spans) {
        if inner.start_ns >= end_ns {
            later.push(inner);
        } else {
            release(&mut inner, end_ns, later);
            span.spans.push(inner);
        }
    }
}

/// The task whose call ends the phase, or begins the next one: its calls are what the phase waited for.
fn ending_task(calls: &[Call], cell: &Cell) -> Option<u32> {
    let side = if cell.place == Place::Outgoing { Side::Outgoing } else { Side::Incoming };
    let touches = |call: &&Call| call.side == side && (call.enter == cell.end || call.exit == Some(cell.end));
    calls.iter().find(touches).and_then(|call| call.pid)
}

fn mark_critical(spans: &mut [Span], task: Option<u32>) {
    for span in spans {
        span.critical = task.is_some() && span.pid == task;
        mark_critical(&mut span.spans, task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, start_ns: i64, duration_ns: u64, spans: Vec<Span>) -> Span {
        Span {
            name: name.to_owned(),
            kind: String::new(),
            subject: String::new(),
            start_ns,
            duration_ns: Some(duration_ns),
            self_ns: None,
            cpu: None,
            pid: None,
            comm: None,
            retval: None,
            critical: false,
            spans,
        }
    }

    fn outline(spans: &[Span]) -> String {
        spans.iter().map(|span| format!("{}({})", span.name, outline(&span.spans))).collect()
    }

    #[test]
    fn what_begins_in_a_later_phase_is_listed_there() {
        // prepare() runs over two borders; shutdown() inside it begins in the second phase, and its own
        // device in the third.
        let device = span("device", 25, 3, vec![]);
        let shutdown = span("shutdown", 12, 17, vec![span("first", 13, 2, vec![]), device]);
        let prepare = span("prepare", 2, 28, vec![span("notifier", 3, 2, vec![]), shutdown]);
        let mut by_cell = vec![Vec::new(), Vec::new(), Vec::new()];
        place(prepare, &[10, 20, 30], &mut by_cell);
        let outlines: Vec<String> = by_cell.iter().map(|spans| outline(spans)).collect();
        assert_eq!(outlines, ["prepare(notifier())", "shutdown(first())", "device()"]);
    }
}
