//! The boot trace buffer: the global one, which the incoming kernel's command line switched on.

use std::collections::BTreeSet;

use profiler_common::record::Record;
use profiler_report::{
    catalogue::{CATALOGUE, Way, boot_symbol},
    evidence::{
        event::Event,
        trace::{self, CpuPages, TraceKind},
    },
    recording::{
        Frame,
        frame::{Body, TraceBuffer},
    },
};

use super::{AgentError, tracefs::Instance};

/// Events the buffer may hold, as `system/event`: the static ones, and whatever kprobes the command line made.
pub fn events(global: &Instance) -> Vec<String> {
    let fixed = [
        "ftrace/function",
        "ftrace/print",
        "initcall/initcall_level",
        "initcall/initcall_start",
        "initcall/initcall_finish",
        "printk/console",
        "bpf_trace/bpf_trace_printk",
    ];
    let mut events: Vec<String> = fixed.iter().map(|event| (*event).to_owned()).collect();
    let probes = CATALOGUE.probes.iter().filter(|probe| probe.incoming.contains(&Way::BootEvent));
    events.extend(probes.flat_map(|probe| &probe.symbols).map(|event| event.replace(':', "/")));
    let kprobes = global.get("kprobe_events").unwrap_or_default();
    // Lines such as `p:kprobes/luo_open luo_open`.
    let named = |line: &str| line.split_once(':')?.1.split_ascii_whitespace().next().map(str::to_owned);
    // Both places that list them: one that is missing in either must not lose its records.
    let mut kprobes: BTreeSet<String> = kprobes.lines().filter_map(named).collect();
    kprobes.extend(global.events_of("kprobes"));
    events.extend(kprobes);
    events
}

/// Every function address that the buffer mentions.
pub fn addresses(buffer: &TraceBuffer, frames: &[Frame]) -> BTreeSet<u64> {
    let pages = frames.iter().filter_map(|frame| match &frame.body {
        Body::TracePages { cpu, page_size, .. } => {
            Some(CpuPages { cpu: *cpu, page_size: *page_size, blob: &frame.blob })
        }
        _ => None,
    });
    // A buffer that cannot be decoded here is kept all the same; the report says what is wrong with it.
    let trace = trace::decode(buffer, pages).unwrap_or_default();
    let address = |kind: &TraceKind| match kind {
        TraceKind::Function { ip, .. } => Some(*ip),
        TraceKind::InitcallStart { func } | TraceKind::InitcallFinish { func, .. } => Some(*func),
        TraceKind::Other { name, args } => Event::parse(name, args)?.function(),
        TraceKind::BpfPrintk { text } => match Record::parse(text)? {
            Record::Enter { ip, .. } | Record::Exit { ip, .. } => Some(ip),
        },
        _ => None,
    };
    trace.events.iter().filter_map(|event| address(&event.event)).collect()
}

/// Puts the buffer back into the state of a kernel that was told nothing, once it is read: our events off, our
/// kprobes gone, and tracing on, so that marks go in. What is not ours stays.
pub fn quiet(global: &Instance, events: &[String]) -> Result<(), AgentError> {
    for event in events.iter().filter(|event| !event.starts_with("ftrace/") && is_ours(event)) {
        // An event that this kernel does not have needs no switching off.
        let _ = global.set(&format!("events/{event}/enable"), "0");
        if event.starts_with("kprobes/") {
            // Refused while somebody else uses it: then it stays.
            let _ = global.add("kprobe_events", &format!("-:{event}\n"));
        }
    }
    global.set("trace_clock", "local")?;
    global.set("tracing_on", "1")
}

/// A kprobe of another than us has another name.
fn is_ours(event: &str) -> bool {
    event.strip_prefix("kprobes/").is_none_or(|name| CATALOGUE.by_symbol(boot_symbol(name)).is_some())
}
