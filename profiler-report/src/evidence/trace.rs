//! Pages and formats of one trace buffer -> typed events.
//!
//! The formats are the caller's, because the flight recorder was filled by another kernel: only
//! `ftrace:function` (1) and `ftrace:print` (5) have the same id in every kernel (`enum trace_type`,
//! kernel/trace/trace.h); all others come from that kernel's description of itself (see
//! [`super::carrier`]).

use std::collections::BTreeMap;

use super::bytes::unsigned;
use super::format::{EventFormat, FieldKind, FormatError, PageLayout};
use super::page::{Damage, Missed, Page};
use crate::recording::frame::TraceBuffer;

/// Kinds of damage and unusable formats that are kept in words; the rest is only counted.
const MAX_PROBLEMS: usize = 64;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// Time, ticks of the buffer's clock.
    pub ts: u64,
    /// CPU it was recorded on.
    pub cpu: u32,
    /// Task that ran (`common_pid`: a thread id).
    pub pid: i32,
    /// What happened.
    pub event: TraceKind,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceKind {
    /// `ftrace:function`: the function tracer saw a call.
    Function {
        /// The function.
        ip: u64,
        /// Where it was called from.
        parent_ip: u64,
    },
    /// `ftrace:print`: a line written to `trace_marker`.
    Print {
        /// The line.
        text: String,
    },
    /// `initcall:initcall_level`.
    InitcallLevel {
        /// `pure`, `core`, ..., `late`; `early` and `console` likewise.
        level: String,
    },
    /// `initcall:initcall_start`.
    InitcallStart {
        /// Address of the initcall.
        func: u64,
    },
    /// `initcall:initcall_finish`.
    InitcallFinish {
        /// Address of the initcall.
        func: u64,
        /// What it returned.
        ret: i32,
    },
    /// `printk:console`: a line of the kernel log, on its way to the consoles.
    Console {
        /// The line.
        text: String,
    },
    /// `bpf_trace:bpf_trace_printk`: a line a BPF program wrote.
    BpfPrintk {
        /// The line.
        text: String,
    },
    /// A kprobe or kretprobe event.
    Kprobe {
        /// Name of the event.
        name: String,
        /// Entry of the function, or its return.
        point: ProbePoint,
        /// Address of the probe, or of the function that returned.
        ip: u64,
        /// Arguments, in the order of the format. Arrays of numbers are left out.
        args: Vec<(String, Value)>,
    },
    /// Any other event whose format is known.
    Other {
        /// Its system and name, such as `iommu:add_device_to_group`; the name alone where the system is unknown.
        name: String,
        /// Its fields, in the order of the format. Arrays of numbers are left out.
        args: Vec<(String, Value)>,
    },
}

/// Where in a function a kprobe event fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbePoint {
    /// At its entry.
    Entry,
    /// On its return.
    Return,
}

/// Value of a kprobe argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An unsigned integer or an address.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A string, scrubbed.
    Text(String),
}

/// What one buffer held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Events by time; those of one CPU and time in the order they were written.
    pub events: Vec<TraceEvent>,
    /// What could not be had.
    pub loss: TraceLoss,
}

/// What a buffer could not give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceLoss {
    /// Events overwritten before they were read, as far as the kernel counted them.
    pub missed_events: u64,
    /// Pages before which events are missing that the kernel did not count.
    pub missed_unknown: u64,
    /// Pages that end in damage.
    pub damaged_pages: u64,
    /// Records of a known event that are too short for it.
    pub short_records: u64,
    /// Records by event id, where no format has that id.
    pub unknown: BTreeMap<u16, u64>,
    /// The first problems, in words.
    pub problems: Vec<String>,
}

impl TraceLoss {
    /// Whether nothing was lost or damaged.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(what);
        }
    }
}

/// Pages of one CPU: [`crate::recording::Body::TracePages`] with its blob.
#[derive(Debug, Clone, Copy)]
pub struct CpuPages<'a> {
    /// The CPU.
    pub cpu: u32,
    /// Bytes in a page.
    pub page_size: u32,
    /// Pages, one after the other.
    pub blob: &'a [u8],
}

/// Decodes one buffer.
///
/// A format that cannot be read costs the events that need it and is named in
/// [`TraceLoss::problems`].
///
/// # Errors
/// If `header_page` cannot be read: then no page can.
pub fn decode<'a>(
    buffer: &TraceBuffer,
    pages: impl IntoIterator<Item = CpuPages<'a>>,
) -> Result<Trace, FormatError> {
    let layout = PageLayout::parse(&buffer.header_page)?;
    let mut trace = Trace::default();
    let mut decoders = BTreeMap::new();
    for text in &buffer.formats {
        match EventFormat::parse(text) {
            Ok(format) => drop(decoders.insert(format.id, Decoder::new(format))),
            Err(error) => trace.loss.problem(error.to_string()),
        }
    }
    for CpuPages { cpu, page_size, blob } in pages {
        for (index, bytes) in blob.chunks((page_size as usize).max(1)).enumerate() {
            if let Err(damage) = trace.page(&decoders, cpu, bytes, &layout) {
                trace.loss.damaged_pages += 1;
                trace.loss.problem(format!("buffer `{}`, CPU {cpu}, page {index}: {damage}", buffer.name));
            }
        }
    }
    trace.events.sort_by_key(|event| event.ts);
    Ok(trace)
}

impl Trace {
    fn page(
        &mut self,
        decoders: &BTreeMap<u16, Decoder>,
        cpu: u32,
        bytes: &[u8],
        layout: &PageLayout,
    ) -> Result<(), Damage> {
        let page = Page::parse(bytes, layout)?;
        match page.missed {
            Missed::None => {}
            Missed::Known(count) => self.loss.missed_events = self.loss.missed_events.saturating_add(count),
            Missed::Unknown => self.loss.missed_unknown += 1,
        }
        for record in page.records() {
            let record = record?;
            let Some(id) = unsigned(record.data, 0, 2) else {
                self.loss.short_records += 1;
                continue;
            };
            match decoders.get(&(id as u16)) {
                None => *self.loss.unknown.entry(id as u16).or_default() += 1,
                Some(decoder) => match decoder.decode(record.data) {
                    None => self.loss.short_records += 1,
                    Some((pid, event)) => self.events.push(TraceEvent { ts: record.ts, cpu, pid, event }),
                },
            }
        }
        Ok(())
    }
}

/// An event's format with what is to be made of it.
struct Decoder {
    format: EventFormat,
    kind: Kind,
}

enum Kind {
    Function,
    Print,
    InitcallLevel,
    InitcallStart,
    InitcallFinish,
    Console,
    BpfPrintk,
    Kprobe(ProbePoint),
    Other,
}

impl Decoder {
    fn new(format: EventFormat) -> Self {
        // A system may be unknown, a wrong one is not accepted.
        let is = |system, name| {
            format.name == name && format.system.as_deref().is_none_or(|actual| actual == system)
        };
        let kind = if is("ftrace", "function") {
            Kind::Function
        } else if is("ftrace", "print") {
            Kind::Print
        } else if is("initcall", "initcall_level") {
            Kind::InitcallLevel
        } else if is("initcall", "initcall_start") {
            Kind::InitcallStart
        } else if is("initcall", "initcall_finish") {
            Kind::InitcallFinish
        } else if is("printk", "console") {
            Kind::Console
        } else if is("bpf_trace", "bpf_trace_printk") {
            Kind::BpfPrintk
        } else if format.field(RETURNED_FUNCTION).is_some() {
            Kind::Kprobe(ProbePoint::Return)
        } else if format.field(PROBED_ADDRESS).is_some() {
            Kind::Kprobe(ProbePoint::Entry)
        } else {
            Kind::Other
        };
        Self { format, kind }
    }

    /// `None` if the record has not all the fields of the event.
    fn decode(&self, record: &[u8]) -> Option<(i32, TraceKind)> {
        let format = &self.format;
        let pid = format.i64(record, "common_pid")?;
        let name = || format.name.clone();
        let kind = match self.kind {
            Kind::Function => TraceKind::Function {
                ip: format.u64(record, "ip")?,
                parent_ip: format.u64(record, "parent_ip")?,
            },
            Kind::Print => TraceKind::Print { text: format.str(record, "buf")? },
            Kind::InitcallLevel => TraceKind::InitcallLevel { level: format.str(record, "level")? },
            Kind::InitcallStart => TraceKind::InitcallStart { func: format.u64(record, "func")? },
            Kind::InitcallFinish => TraceKind::InitcallFinish {
                func: format.u64(record, "func")?,
                ret: format.i64(record, "ret")?.try_into().ok()?,
            },
            Kind::Console => TraceKind::Console { text: format.str(record, "msg")? },
            Kind::BpfPrintk => TraceKind::BpfPrintk { text: format.str(record, "bpf_string")? },
            Kind::Kprobe(point) => {
                let address = match point {
                    ProbePoint::Entry => PROBED_ADDRESS,
                    ProbePoint::Return => RETURNED_FUNCTION,
                };
                let ip = format.u64(record, address)?;
                TraceKind::Kprobe { name: name(), point, ip, args: self.args(record)? }
            }
            Kind::Other => {
                let system = format.system.iter().map(|system| format!("{system}:")).collect::<String>();
                TraceKind::Other { name: system + &name(), args: self.args(record)? }
            }
        };
        Some((pid.try_into().ok()?, kind))
    }

    fn args(&self, record: &[u8]) -> Option<Vec<(String, Value)>> {
        let format = &self.format;
        let own = |name: &str| !name.starts_with("common_") && !name.starts_with("__probe_");
        let mut args = Vec::new();
        for field in format.fields.iter().filter(|field| own(&field.name)) {
            let name = &field.name;
            let value = match field.kind {
                FieldKind::Scalar if field.signed => Value::Signed(format.i64(record, name)?),
                FieldKind::Scalar => Value::Unsigned(format.u64(record, name)?),
                _ if field.is_text() => Value::Text(format.str(record, name)?),
                _ => continue,
            };
            args.push((name.clone(), value));
        }
        Some(args)
    }
}

/// `FIELD_STRING_IP` of kernel/trace/trace_probe.h: in the format of every kprobe event.
const PROBED_ADDRESS: &str = "__probe_ip";
/// `FIELD_STRING_FUNC`: in the format of every kretprobe event.
const RETURNED_FUNCTION: &str = "__probe_func";

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
