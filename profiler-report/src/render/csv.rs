//! Every figure as one table. `record` says what a line is; a column that a record has nothing for is empty,
//! and so is what is not known.

use csv::Writer;

use super::{
    Error, display,
    lanes::{self, Item},
};
use crate::report::Report;

/// The columns.
const COLUMNS: [&str; 16] = [
    "record",
    "kernel",
    "phase",
    "name",
    "kind",
    "subject",
    "start_ns",
    "duration_ns",
    "self_ns",
    "error_ns",
    "count",
    "depth",
    "cpu",
    "pid",
    "comm",
    "retval",
];

/// A line, column by column.
#[derive(Default)]
struct Line<'a> {
    record: &'a str,
    kernel: &'a str,
    phase: &'a str,
    name: &'a str,
    kind: &'a str,
    subject: &'a str,
    start_ns: Option<i64>,
    duration_ns: Option<u64>,
    self_ns: Option<u64>,
    error_ns: Option<u64>,
    count: Option<u64>,
    depth: Option<usize>,
    cpu: Option<u32>,
    pid: Option<u32>,
    comm: &'a str,
    retval: Option<i64>,
}

/// Renders it, with a head line.
///
/// # Errors
/// The writer's.
pub fn render(report: &Report) -> Result<Vec<u8>, Error> {
    let mut out = Writer::from_writer(Vec::new());
    out.write_record(COLUMNS)?;
    let mut write = |line: Line| out.write_record(line.fields());
    let outcome = display::outcome(report);
    write(Line {
        record: "window",
        name: report.window.as_ref().map_or("", |window| &window.definition),
        kind: outcome,
        subject: &report.run.id,
        start_ns: report.window.as_ref().map(|_| 0),
        duration_ns: report.window.as_ref().map(|window| window.duration_ns),
        error_ns: report.window.as_ref().map(|window| window.error_ns),
        ..Line::default()
    })?;
    for phase in &report.phases {
        write(Line {
            record: "phase",
            kernel: display::kernel(phase.kernel),
            phase: &phase.id,
            name: &phase.title,
            start_ns: Some(phase.start_ns),
            duration_ns: Some(phase.duration_ns),
            error_ns: Some(phase.error_ns),
            ..Line::default()
        })?;
    }
    for vm in &report.vms {
        let line = Line { subject: &vm.id, kind: display::status(vm.status), ..Line::default() };
        write(Line {
            record: "vm",
            name: &vm.name,
            start_ns: vm.start_ns,
            duration_ns: vm.blackout_ns,
            error_ns: vm.error_ns,
            ..line
        })?;
        for vcpu in &vm.vcpus {
            write(Line {
                record: "vcpu",
                name: &format!("{} vCPU {}", vm.name, vcpu.id),
                subject: &vm.id,
                start_ns: vcpu.last_exit_ns,
                duration_ns: vcpu.pause_ns,
                error_ns: vcpu.error_ns,
                count: vcpu.exits,
                ..Line::default()
            })?;
        }
    }
    for mark in &report.marks {
        write(Line {
            record: "mark",
            kernel: display::kernel(mark.kernel),
            name: &mark.name,
            subject: mark.vm.as_deref().unwrap_or(""),
            start_ns: Some(mark.at_ns),
            error_ns: Some(mark.error_ns),
            ..Line::default()
        })?;
    }
    for item in &lanes::items(report) {
        write(span(report, item))?;
    }
    for hot in &report.hot {
        write(Line {
            record: "hot",
            kernel: display::kernel(hot.kernel),
            phase: &hot.phase,
            name: &hot.probe,
            subject: &hot.subject,
            duration_ns: hot.total_ns,
            count: Some(hot.count),
            ..Line::default()
        })?;
    }
    for failure in &report.failures {
        write(Line {
            record: "failure",
            kernel: display::kernel(failure.kernel),
            name: &failure.function,
            subject: &failure.message,
            start_ns: failure.at_ns,
            retval: failure.errno.map(|errno| -i64::from(errno)),
            ..Line::default()
        })?;
    }
    for (place, count) in display::losses(report) {
        write(Line { record: "loss", name: &place, count, ..Line::default() })?;
    }
    out.into_inner().map_err(|error| Error::Csv(error.into_error().into()))
}

fn span<'a>(report: &'a Report, item: &Item<'a>) -> Line<'a> {
    let span = item.span;
    let phase = item.phase.and_then(|index| report.phases.get(index));
    Line {
        record: "span",
        kernel: display::kernel(item.kernel),
        phase: phase.map_or("brownout", |phase| &phase.id),
        name: &span.name,
        kind: &span.kind,
        subject: &span.subject,
        start_ns: Some(span.start_ns),
        duration_ns: span.duration_ns,
        self_ns: span.self_ns,
        depth: Some(item.depth),
        cpu: span.cpu,
        pid: span.pid,
        comm: span.comm.as_deref().unwrap_or(""),
        retval: span.retval,
        ..Line::default()
    }
}

impl Line<'_> {
    fn fields(&self) -> [String; 16] {
        fn known<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        [
            text(self.record),
            text(self.kernel),
            text(self.phase),
            text(self.name),
            text(self.kind),
            text(self.subject),
            known(self.start_ns),
            known(self.duration_ns),
            known(self.self_ns),
            known(self.error_ns),
            known(self.count),
            known(self.depth),
            known(self.cpu),
            known(self.pid),
            text(self.comm),
            known(self.retval),
        ]
    }
}

/// A spreadsheet takes text that begins like a formula for one, unless an apostrophe stands before it.
fn text(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{report, span};

    #[test]
    fn quotes_and_formulas_stay_text() {
        let mut hostile = span("a,\"b\"", 0, 5);
        hostile.subject = "=HYPERLINK(1)".to_owned();
        let bytes = render(&report(vec![hostile])).unwrap();
        let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
        assert_eq!(reader.headers().unwrap(), COLUMNS.as_slice());
        let lines: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let span = lines.iter().find(|line| &line[0] == "span").unwrap();
        assert_eq!((&span[3], &span[5], &span[7]), ("a,\"b\"", "'=HYPERLINK(1)", "5"));
    }
}
