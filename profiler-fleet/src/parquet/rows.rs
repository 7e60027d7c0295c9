//! Report -> rows: one for the live update, one for each guest, phase and span. What is said of the live update stands
//! in every row, so that no query needs a join; dictionaries make that cheap.

use ::parquet::data_type::ByteArray;
use profiler_report::{
    render::display,
    report::{Kernel, Phase, Report, Span, Vm},
};

use super::columns::{COLUMNS, UPDATE_COLUMNS, Value};

/// Values in the order of [`COLUMNS`].
pub type Row = [Value; COLUMNS.len()];

/// What is said of a row of its own.
#[derive(Default)]
struct Own<'a> {
    parent: Option<i64>,
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
    span: Option<&'a Span>,
}

/// Calls `take` with each row; a parent comes before its children.
///
/// # Errors
/// Those of `take`.
pub fn rows<E>(report: &Report, take: &mut impl FnMut(Row) -> Result<(), E>) -> Result<(), E> {
    let mut rows = Rows { update: update(report), next: 0, take };
    let window = report.window.as_ref();
    rows.row(Own {
        record: "update",
        name: &display::releases(report),
        start_ns: window.map(|_| 0),
        duration_ns: window.map(|window| window.duration_ns),
        error_ns: window.map(|window| window.error_ns),
        ..Own::default()
    })?;
    report.vms.iter().try_for_each(|vm| rows.vm(vm))?;
    report.brownout.iter().try_for_each(|span| rows.span(span, 0, "outgoing", "brownout"))?;
    report.phases.iter().try_for_each(|phase| rows.phase(phase))
}

struct Rows<'a, F> {
    update: [Value; UPDATE_COLUMNS],
    next: i64,
    take: &'a mut F,
}

impl<E, F: FnMut(Row) -> Result<(), E>> Rows<'_, F> {
    fn vm(&mut self, vm: &Vm) -> Result<(), E> {
        self.row(Own {
            parent: Some(0),
            record: "vm",
            name: &vm.name,
            kind: display::status(vm.status),
            start_ns: vm.start_ns,
            duration_ns: vm.blackout_ns,
            error_ns: vm.error_ns,
            ..Own::default()
        })
        .map(drop)
    }

    fn phase(&mut self, phase: &Phase) -> Result<(), E> {
        let kernel = display::kernel(phase.kernel);
        let row = self.row(Own {
            parent: Some(0),
            record: "phase",
            kernel,
            phase: &phase.id,
            name: &phase.title,
            start_ns: Some(phase.start_ns),
            duration_ns: Some(phase.duration_ns),
            error_ns: Some(phase.error_ns),
            ..Own::default()
        })?;
        phase.spans.iter().try_for_each(|span| self.span(span, row, kernel, &phase.id))
    }

    fn span(&mut self, span: &Span, parent: i64, kernel: &str, phase: &str) -> Result<(), E> {
        let row = self.row(Own {
            parent: Some(parent),
            record: "span",
            kernel,
            phase,
            name: &span.name,
            kind: &span.kind,
            subject: &span.subject,
            start_ns: Some(span.start_ns),
            duration_ns: span.duration_ns,
            self_ns: span.self_ns,
            span: Some(span),
            ..Own::default()
        })?;
        span.spans.iter().try_for_each(|inner| self.span(inner, row, kernel, phase))
    }

    /// Gives its number.
    fn row(&mut self, own: Own) -> Result<i64, E> {
        let number = self.next;
        self.next += 1;
        let span = own.span;
        let own = [
            Value::Int(number),
            own.parent.into(),
            own.record.into(),
            own.kernel.into(),
            own.phase.into(),
            own.name.into(),
            own.kind.into(),
            own.subject.into(),
            pci_address(own.subject).into(),
            own.start_ns.into(),
            own.duration_ns.into(),
            own.self_ns.into(),
            own.error_ns.into(),
            span.and_then(|span| span.cpu).map(i64::from).into(),
            span.and_then(|span| span.pid).map(i64::from).into(),
            span.and_then(|span| span.retval).into(),
            span.map(|span| span.critical).into(),
        ];
        let mut all = self.update.iter().cloned().chain(own);
        (self.take)(std::array::from_fn(|_| all.next().unwrap_or(Value::Null)))?;
        Ok(number)
    }
}

fn update(report: &Report) -> [Value; UPDATE_COLUMNS] {
    let run = &report.run;
    let of = |kernel: &Option<Kernel>, member: fn(&Kernel) -> &str| {
        kernel.as_ref().map_or(Value::Null, |kernel| member(kernel).into())
    };
    let window = report.window.as_ref();
    [
        run.id.as_str().into(),
        report.clock.origin_unix_ns.map(|ns| ns / 1_000).into(),
        run.host.as_str().into(),
        run.arch.as_str().into(),
        i64::from(run.cpus).into(),
        run.memory_bytes.into(),
        of(&report.outgoing, |kernel| &kernel.release),
        of(&report.incoming, |kernel| &kernel.release),
        of(&report.incoming, |kernel| &kernel.build_id),
        display::outcome(report).into(),
        display::handover(report).into(),
        window.map(|window| window.definition.as_str()).unwrap_or_default().into(),
        window.map(|window| window.duration_ns).into(),
        report.unobserved_ns.into(),
        report.loss.total().into(),
        report.tool.version.as_str().into(),
    ]
}

impl From<&str> for Value {
    /// Nothing is known of what is empty.
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(ByteArray::from(text)) }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The PCI address in a subject: `DDDD:BB:DD.F`, as the kernel names devices (`pci_setup_device`,
/// drivers/pci/probe.c).
fn pci_address(subject: &str) -> &str {
    const SHAPE: &str = "xxxx:xx:xx.d";
    let fits = |word: &&str| {
        let fit = |(shape, byte): (u8, u8)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        };
        word.len() == SHAPE.len() && SHAPE.bytes().zip(word.bytes()).all(fit)
    };
    subject.split_whitespace().find(fits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_its_address() {
        assert_eq!(pci_address("vfio-pci 0000:3b:00.1"), "0000:3b:00.1");
        assert_eq!(pci_address("token 0x1"), "");
        assert_eq!(pci_address("0000:3b:00.10"), "");
    }
}
