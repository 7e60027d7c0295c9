//! Phases with what happened inside them, and what each waited for.

use std::mem;

use super::{Link, Phase, Span, axis::Axis};
use crate::{
    stitch::Sighting,
    timeline::{self, Call, Cell, Ends, Node, Paths, Tasks, UNOBSERVED},
};

/// Links of a phase's chain that are listed.
const LINKS: usize = 16;

/// A window divided.
#[derive(Debug, Default)]
pub struct Divided {
    /// Spans before the window.
    pub brownout: Vec<Span>,
    /// Its phases with theirs.
    pub phases: Vec<Phase>,
    /// [`super::Report::attributed_ns`].
    pub attributed_ns: Option<u64>,
}

/// Divides a window.
pub fn divide(
    cells: &[Cell],
    mut calls: Vec<Call>,
    tasks: &Tasks,
    sightings: &[Sighting],
    ends: Option<&Ends>,
    axis: &Axis,
) -> Divided {
    let Some(ends) = ends else { return Divided::default() };
    let paths = Paths::new(&calls, tasks, sightings);
    let links: Vec<Vec<timeline::Link>> = cells.iter().map(|cell| paths.of(cell)).collect();
    let on: Vec<usize> = links.iter().flat_map(|links| paths.on(links)).collect();
    let chains: Vec<Vec<Link>> = links.iter().map(|links| chain(links, &calls, axis)).collect();
    for index in on {
        if let Some(call) = calls.get_mut(index) {
            call.critical = true;
        }
    }

    let total = axis.between(ends.start, ends.end).max(1);
    calls.retain(|call| call.enter.ticks < ends.end.ticks);
    // A program that was started before the window may run in it.
    let (before, inside): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.enter.ticks < ends.start.ticks);
    let spans = |calls| {
        let trees = timeline::forest(calls, tasks);
        trees.iter().map(|node| span(node, axis)).collect::<Vec<Span>>()
    };
    let cell_ends: Vec<i64> = cells.iter().map(|cell| axis.at(cell.end.ticks)).collect();
    let mut by_cell: Vec<Vec<Span>> = cells.iter().map(|_| Vec::new()).collect();
    for span in spans(inside) {
        place(span, &cell_ends, &mut by_cell);
    }
    let mut attributed_ns = 0_u64;
    let phases = cells.iter().zip(by_cell).zip(chains).map(|((cell, mut spans), mut chain)| {
        spans.sort_by_key(|span| span.start_ns);
        let duration_ns = axis.between(cell.begin, cell.end);
        attributed_ns += match chain.as_slice() {
            _ if cell.id == UNOBSERVED => 0,
            _ if cell.leaf => duration_ns,
            links => links.iter().map(|link| link.own_ns).sum(),
        };
        chain.truncate(LINKS);
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
            chain,
        }
    });
    let phases = phases.collect();
    Divided { brownout: spans(before), phases, attributed_ns: Some(attributed_ns) }
}

/// What a path's time went to, the longest first; stretches without a name are left out.
fn chain(links: &[timeline::Link], calls: &[Call], axis: &Axis) -> Vec<Link> {
    let mut own: Vec<(usize, u64)> = Vec::new();
    for link in links {
        let Some(call) = link.call else { continue };
        let ns = axis.between(link.from, link.to);
        match own.iter_mut().find(|(index, _)| *index == call) {
            Some((_, sum)) => *sum += ns,
            None => own.push((call, ns)),
        }
    }
    // Stable: of equal ones the earlier comes first.
    own.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let link = |(index, own_ns): (usize, u64)| {
        let call = calls.get(index)?;
        let (name, kind, subject) = (call.name.clone(), call.kind.clone(), call.subject.clone());
        Some(Link { name, kind, subject, pid: call.pid, own_ns })
    };
    own.into_iter().filter_map(link).collect()
}

fn span(node: &Node, axis: &Axis) -> Span {
    let call = &node.call;
    let duration_ns = call.exit.map(|exit| axis.between(call.enter, exit));
    let spans: Vec<Span> = node.inner.iter().map(|inner| span(inner, axis)).collect();
    let inner = covered(&spans);
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
        critical: call.critical,
        spans,
    }
}

/// Time in which any of these runs: programs may run beside one another. They are in order of begin.
fn covered(spans: &[Span]) -> u64 {
    let (mut sum, mut until) = (0, i64::MIN);
    for span in spans {
        let end = span.start_ns.saturating_add_unsigned(span.duration_ns.unwrap_or(0));
        sum += u64::try_from(end.saturating_sub(span.start_ns.max(until))).unwrap_or(0);
        until = until.max(end);
    }
    sum
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
    fn what_runs_at_once_is_counted_once() {
        let spans = [span("a", 0, 10, vec![]), span("b", 5, 3, vec![]), span("c", 8, 7, vec![])];
        assert_eq!((covered(&spans), covered(&[])), (15, 0));
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
