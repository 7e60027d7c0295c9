//! Trace events -> sightings, on whatever clock the buffer had.

use std::collections::HashMap;

use profiler_common::{cost::CostRecord, hot::HotRecord, vcpu::VcpuRecord};

use super::{Carried, Half, Moment, Sighting, Source, What};
use crate::{
    catalogue::{CATALOGUE, Found, Probe, boot_symbol},
    evidence::{
        event::Event,
        probe_record::{ProbeCall, ProbeRecord},
        trace::{ProbePoint, Trace, TraceEvent, TraceKind, Value},
    },
    recording::Side,
};

/// What a buffer's events came to.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Sightings in order of time.
    pub sightings: Vec<Sighting>,
    /// Sequence numbers of the probe records among them.
    pub seqs: Vec<u64>,
    /// Records about vCPUs, with the moment they were written; in order of time.
    pub vcpus: Vec<(VcpuRecord, Moment)>,
    /// What was counted where it ran.
    pub hot: Vec<HotRecord>,
    /// What the programs took.
    pub costs: Vec<CostRecord>,
    /// Events about functions that have no name, or no probe.
    pub nameless: u64,
}

/// Makes sightings of a buffer's events; `moment` puts a time stamp of its clock on the common axis.
pub fn sightings(side: Side, half: &Half, trace: &Trace, moment: impl Fn(u64) -> Moment) -> Decoded {
    let mut decoded = Decoded::default();
    // The module that each task loaded last.
    let mut modules: HashMap<i32, &str> = HashMap::new();
    for event in &trace.events {
        if let Some(module) = loaded_module(&event.event) {
            modules.insert(event.pid, module);
        }
        let record = match &event.event {
            TraceKind::BpfPrintk { text } => ProbeRecord::parse(text),
            _ => None,
        };
        decoded.seqs.extend(record.as_ref().map(|record| record.seq));
        if let (None, TraceKind::BpfPrintk { text }) = (&record, &event.event) {
            if let Some(vcpu) = VcpuRecord::parse(text) {
                decoded.seqs.push(vcpu.seq());
                decoded.vcpus.push((vcpu, moment(event.ts)));
            } else if let Some(hot) = HotRecord::parse(text) {
                decoded.seqs.push(hot.seq());
                decoded.hot.push(hot);
            } else if let Some(cost) = CostRecord::parse(text) {
                decoded.seqs.push(cost.seq);
                decoded.costs.push(cost);
            }
        }
        let what = match record {
            Some(record) => probe_call(half, record),
            None => what(half, &event.event, modules.get(&event.pid).copied()),
        };
        match what {
            Seen::Something(what) => decoded.sightings.push(Sighting {
                side,
                at: moment(event.ts),
                cpu: Some(event.cpu),
                pid: pid(event),
                what,
            }),
            Seen::Nameless => decoded.nameless += 1,
            Seen::Nothing => {}
        }
    }
    decoded
}

enum Seen {
    Something(What),
    /// An event that should have a name, and has none.
    Nameless,
    /// Not for the timeline.
    Nothing,
}

fn pid(event: &TraceEvent) -> Option<u32> {
    u32::try_from(event.pid).ok()
}

fn probe_call(half: &Half, record: ProbeRecord) -> Seen {
    let Some(probe) = half.symbol(record.ip).and_then(|symbol| CATALOGUE.by_symbol(symbol)) else {
        return Seen::Nameless;
    };
    let source = Source::Ebpf;
    Seen::Something(match record.point {
        ProbeCall::Enter { found, comm } => {
            let (subject, carried) = (probe.subject.fill(&found), carried(probe, &found));
            let comm = Some(comm).filter(|comm| !comm.is_empty());
            What::Enter { subject, probe, source, comm, carried }
        }
        ProbeCall::Exit { retval } => What::Exit { probe, source, retval },
    })
}

/// The module that `module:module_load` tells of, just before its initcall (kernel/module/main.c, Linux 7.3).
fn loaded_module(event: &TraceKind) -> Option<&str> {
    match event {
        TraceKind::Other { name, args } if name == "module:module_load" => {
            args.iter().find_map(|(field, value)| match value {
                Value::Text(text) if field == "name" => Some(text.as_str()),
                _ => None,
            })
        }
        _ => None,
    }
}

fn what(half: &Half, event: &TraceKind, module: Option<&str>) -> Seen {
    let function = |address: u64| half.symbol(address).map(str::to_owned);
    // Once a module is in, the kernel has dropped the names of what it needed for that alone.
    let initcall = |address: u64| function(address).or_else(|| module.map(|_| "init_module".to_owned()));
    let what = match event {
        TraceKind::Function { ip, .. } => half
            .symbol(*ip)
            .and_then(|symbol| CATALOGUE.by_symbol(symbol))
            .map(|probe| What::Reached { probe, subject: String::new(), comm: None }),
        TraceKind::InitcallStart { func } => {
            let module = module.or_else(|| half.modules.get(func).map(String::as_str)).map(str::to_owned);
            initcall(*func).map(|function| What::InitcallBegin { function, module })
        }
        TraceKind::InitcallFinish { func, ret } => {
            initcall(*func).map(|function| What::InitcallEnd { function, retval: *ret })
        }
        TraceKind::Kprobe { name, point, args, .. } => boot_kprobe(name, *point, args, half.layouts),
        // Of the events that the boot buffer has for other reasons, none is a probe's.
        TraceKind::Other { name, args } => match CATALOGUE.by_symbol(name) {
            Some(probe) => Some(match Event::parse(name, args) {
                Some(event) => {
                    let function = event.function().and_then(function);
                    What::Event { probe, event, function }
                }
                None => boot_event(probe, args),
            }),
            None => return Seen::Nothing,
        },
        _ => return Seen::Nothing,
    };
    what.map_or(Seen::Nameless, Seen::Something)
}

/// A static event that `blackout load` switched on: its strings are what the subject asks for, in order.
fn boot_event(probe: &'static Probe, args: &[(String, Value)]) -> What {
    let mut texts = args.iter().filter_map(|(_, value)| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    });
    let mut next = || texts.next().unwrap_or_default();
    let found = Found { texts: [next(), next()], ..Found::default() };
    What::Reached { probe, subject: probe.subject.fill(&found), comm: None }
}

/// A kprobe that `blackout load` put on the command line: the event is named after its symbol. What it
/// read out of structures counts only if the kernel has the `layouts` of the one that wrote the command line.
fn boot_kprobe(event: &str, point: ProbePoint, args: &[(String, Value)], layouts: bool) -> Option<What> {
    let probe = CATALOGUE.by_symbol(boot_symbol(event))?;
    let source = Source::BootKprobe;
    let value = |(_, value): &(String, Value)| match value {
        Value::Unsigned(value) => *value,
        Value::Signed(value) => *value as u64,
        Value::Text(_) => 0,
    };
    let number = |wanted: &str| args.iter().find(|(name, _)| name == wanted).map_or(0, value);
    if point == ProbePoint::Return {
        // The one thing that is asked for, without a name: the command line is short.
        return Some(What::Exit { probe, source, retval: args.first().map_or(0, value) });
    }
    let text = |wanted: &str| {
        args.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == wanted && (layouts || name == "name") => Some(text.clone()),
            _ => None,
        })
    };
    let known = |name: &str| (layouts && args.iter().any(|(given, _)| given == name)).then(|| number(name));
    let found = Found {
        args: [number("a0"), number("a1"), number("a2")],
        // `name`: a string that is an argument itself.
        texts: [text("t0").or_else(|| text("name")), text("t1")].map(Option::unwrap_or_default),
        numbers: [known("n0"), known("n1")],
    };
    let (subject, carried) = (probe.subject.fill(&found), carried(probe, &found));
    Some(What::Enter { probe, source, subject, comm: None, carried })
}

/// The calls in it of the function that it [`carries`](Probe::carries), if that was found.
fn carried(probe: &Probe, found: &Found) -> Option<Carried> {
    let [count, bytes] = found.numbers;
    count.filter(|_| probe.carries.is_some()).map(|count| Carried { count, bytes })
}
