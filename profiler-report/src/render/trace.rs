//! A report as trace viewers see one: processes, tracks, slices, instants, counters, and the flow from the
//! outgoing kernel through the dark to the incoming one.

use std::collections::BTreeMap;

use super::{
    display,
    lanes::{self, Grouping},
};
use crate::{
    catalogue::Place,
    report::{Kernel, Report, Span},
};

/// What viewers call a process: the window, and each kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// What belongs to no kernel: window, dark stretch, guests.
    Window = 1,
    /// The outgoing kernel.
    Outgoing = 2,
    /// The incoming kernel.
    Incoming = 3,
}

/// Everything to draw. Times are the report's: nanoseconds from the start of the window.
#[derive(Debug, Default)]
pub struct Trace {
    /// Processes and their names.
    pub processes: Vec<(Process, String)>,
    /// Rows; slices of one nest.
    pub tracks: Vec<(Process, String)>,
    /// Outer before inner.
    pub slices: Vec<Slice>,
    /// Points in time.
    pub instants: Vec<Slice>,
    /// Running totals.
    pub counters: Vec<Counter>,
}

/// Something on a track.
#[derive(Debug)]
pub struct Slice {
    /// Index of the track.
    pub track: usize,
    /// Its name.
    pub name: String,
    /// `phase`, or the span's kind.
    pub category: String,
    /// Where it begins.
    pub start_ns: i64,
    /// Its length; 0 for an instant.
    pub duration_ns: u64,
    /// What else is known of it.
    pub details: Vec<(&'static str, Detail)>,
    /// It is on the way through the dark stretch.
    pub flow: Option<Flow>,
}

/// A value of a slice.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Detail {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// Where a slice stands in the flow from kernel to kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The outgoing kernel's last phase.
    Begin,
    /// In the dark.
    Step,
    /// The incoming kernel's first phase.
    End,
}

/// Calls of one kind that one kernel has finished, over time.
#[derive(Debug)]
pub struct Counter {
    /// Whose.
    pub process: Process,
    /// Its name.
    pub name: String,
    /// (time, total from then on), in the order of time.
    pub points: Vec<(i64, i64)>,
}

/// Lays a report out.
pub fn trace(report: &Report) -> Trace {
    let mut trace = Trace::default();
    let release = |kernel: &Option<Kernel>| kernel.as_ref().map_or("?".to_owned(), |k| k.release.clone());
    trace.processes = vec![
        (Process::Window, format!("blackout, run {}", report.run.id)),
        (Process::Outgoing, format!("outgoing kernel {}", release(&report.outgoing))),
        (Process::Incoming, format!("incoming kernel {}", release(&report.incoming))),
    ];
    window(&mut trace, report);
    phases(&mut trace, report);
    guests(&mut trace, report);
    spans(&mut trace, report);
    counters(&mut trace, report);
    trace
}

fn process(place: Place) -> Process {
    match place {
        Place::Outgoing => Process::Outgoing,
        Place::Jump => Process::Window,
        Place::Incoming => Process::Incoming,
    }
}

fn number(value: u64) -> Detail {
    Detail::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Trace {
    fn track(&mut self, process: Process, name: &str) -> usize {
        self.tracks.push((process, name.to_owned()));
        self.tracks.len() - 1
    }
}

fn window(trace: &mut Trace, report: &Report) {
    let track = trace.track(Process::Window, "window");
    if let Some(window) = &report.window {
        let details = vec![
            ("from", Detail::Text(window.start.clone())),
            ("to", Detail::Text(window.end.clone())),
            ("error_ns", number(window.error_ns)),
            ("outcome", Detail::Text(display::outcome(report).to_owned())),
            ("lost_records", number(report.loss.total())),
        ];
        let (name, category) = (format!("blackout window ({})", window.definition), "window".to_owned());
        trace.slices.push(Slice {
            track,
            name,
            category,
            start_ns: 0,
            duration_ns: window.duration_ns,
            details,
            flow: None,
        });
    }
    let mut instant = |name: String, category: &str, start_ns, details| {
        trace.instants.push(Slice {
            track,
            name,
            category: category.to_owned(),
            start_ns,
            duration_ns: 0,
            details,
            flow: None,
        });
    };
    if let Some(lost) = display::lost(report) {
        instant(lost, "loss", 0, Vec::new());
    }
    for failure in &report.failures {
        let mut details = vec![("function", Detail::Text(failure.function.clone()))];
        details.extend(failure.errno.map(|errno| ("errno", Detail::Number(errno.into()))));
        instant(failure.message.clone(), "failure", failure.at_ns.unwrap_or(0), details);
    }
    for mark in &report.marks {
        let vm = mark.vm.iter().map(|vm| ("vm", Detail::Text(vm.clone())));
        let details = vm.chain([("error_ns", number(mark.error_ns))]).collect();
        instant(mark.name.clone(), "mark", mark.at_ns, details);
    }
}

fn phases(trace: &mut Trace, report: &Report) {
    let mut tracks = BTreeMap::new();
    let last_before = report.phases.iter().rposition(|phase| phase.kernel == Place::Outgoing);
    let first_after = report.phases.iter().position(|phase| phase.kernel == Place::Incoming);
    let both = last_before.is_some() && first_after.is_some();
    for (index, phase) in report.phases.iter().enumerate() {
        let process = process(phase.kernel);
        let row = if process == Process::Window { "dark stretch" } else { "phases" };
        let track = *tracks.entry(process).or_insert_with(|| trace.track(process, row));
        let flow = match phase.kernel {
            Place::Jump => Some(Flow::Step),
            Place::Outgoing => (last_before == Some(index)).then_some(Flow::Begin),
            Place::Incoming => (first_after == Some(index)).then_some(Flow::End),
        };
        let details = vec![
            ("id", Detail::Text(phase.id.clone())),
            ("begins_with", Detail::Text(phase.begins_with.clone())),
            ("error_ns", number(phase.error_ns)),
        ];
        trace.slices.push(Slice {
            track,
            name: phase.title.clone(),
            category: "phase".to_owned(),
            start_ns: phase.start_ns,
            duration_ns: phase.duration_ns,
            details,
            flow: flow.filter(|_| both),
        });
    }
}

fn guests(trace: &mut Trace, report: &Report) {
    for vm in &report.vms {
        let details = || {
            vec![
                ("id", Detail::Text(vm.id.clone())),
                ("status", Detail::Text(display::status(vm.status).to_owned())),
            ]
        };
        let own = (vm.start_ns, vm.blackout_ns, format!("{} dark", vm.name), format!("guest {}", vm.name));
        let vcpus = vm.vcpus.iter().map(|vcpu| {
            let name = format!("vCPU {} paused", vcpu.id);
            (vcpu.last_exit_ns, vcpu.pause_ns, name, format!("guest {} vCPU {}", vm.name, vcpu.id))
        });
        for (start, length, name, row) in std::iter::once(own).chain(vcpus) {
            let (Some(start_ns), Some(duration_ns)) = (start, length) else { continue };
            let (track, category) = (trace.track(Process::Window, &row), "guest".to_owned());
            trace.slices.push(Slice {
                track,
                name,
                category,
                start_ns,
                duration_ns,
                details: details(),
                flow: None,
            });
        }
    }
}

fn spans(trace: &mut Trace, report: &Report) {
    let items = lanes::items(report);
    let (rows, seats) = lanes::seat(&items, Grouping::Task);
    let first = trace.tracks.len();
    for row in &rows {
        trace.track(process(row.kernel), &row.title);
    }
    let mut order: Vec<_> = items.iter().zip(&seats).collect();
    order.sort_by_key(|(item, seat)| (seat.lane, item.span.start_ns, seat.level));
    for (item, seat) in order {
        let span = item.span;
        let slice = Slice {
            track: first + seat.lane,
            name: display::name(item),
            category: span.kind.clone(),
            start_ns: span.start_ns,
            duration_ns: span.duration_ns.unwrap_or(0),
            details: details(span),
            flow: None,
        };
        if span.duration_ns.is_some() { trace.slices.push(slice) } else { trace.instants.push(slice) }
    }
}

fn details(span: &Span) -> Vec<(&'static str, Detail)> {
    let mut details = Vec::new();
    details.extend(span.cpu.map(|cpu| ("cpu", Detail::Number(cpu.into()))));
    details.extend(span.pid.map(|pid| ("pid", Detail::Number(pid.into()))));
    details.extend(span.retval.map(|value| ("retval", Detail::Number(value))));
    details.extend(span.self_ns.map(|own| ("self_ns", number(own))));
    if span.duration_ns.is_none() {
        details.push(("end_seen", Detail::Flag(false)));
    }
    if span.critical {
        details.push(("critical", Detail::Flag(true)));
    }
    details
}

fn counters(trace: &mut Trace, report: &Report) {
    let mut ends: BTreeMap<(Process, &str), Vec<i64>> = BTreeMap::new();
    for item in lanes::items(report).iter().filter(|item| item.span.duration_ns.is_some()) {
        ends.entry((process(item.kernel), &item.span.kind)).or_default().push(item.end_ns);
    }
    for ((process, kind), mut ends) in ends {
        ends.sort_unstable();
        let points = ends.into_iter().zip(1..).collect();
        trace.counters.push(Counter { process, name: format!("{kind}: calls finished"), points });
    }
}
