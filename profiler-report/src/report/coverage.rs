//! Every probe that was wanted, and how it went.

use super::{Coverage, ProbeState};
use crate::{
    catalogue::{CATALOGUE, Place, Way},
    recording::{Side, frame},
    stitch::{Half, Source, Stitched, What},
};

/// The coverage table: eBPF probes by what the loader said, boot probes by what the command line asked.
pub fn coverage(stitched: &Stitched) -> Vec<Coverage> {
    let mut all = Vec::new();
    let hits = |side: Side, name: &str, boot: bool| {
        let hit = |what: &What| match what {
            What::Enter { probe, source, .. } => {
                probe.name == name && boot == (*source == Source::BootKprobe)
            }
            What::Reached { probe, .. } | What::Event { probe, .. } => boot && probe.name == name,
            What::InitcallBegin { .. } => boot && name == "initcall",
            _ => false,
        };
        let of_vcpus = match (side, name) {
            (Side::Outgoing, "vcpu-exit" | "vcpu-entry") => stitched.vcpus.exits.len(),
            (Side::Outgoing, "vcpu-flush") => usize::from(stitched.vcpus.written.is_some()),
            (Side::Incoming, "vcpu-entry") => stitched.vcpus.entries.len(),
            (Side::Incoming, "vcpu-exit") => stitched.vcpus.stays.len(),
            _ => 0,
        };
        let seen = stitched.sightings.iter().filter(|s| s.side == side && hit(&s.what)).count();
        let ([outgoing, incoming], name_at) = (&stitched.counted, |half: &'_ Half, ip| {
            half.symbol(ip).and_then(|symbol| CATALOGUE.by_symbol(symbol)).is_some_and(|p| p.name == name)
        });
        let (counted, half) = match side {
            Side::Outgoing => (outgoing, &stitched.outgoing),
            Side::Incoming => (incoming, &stitched.incoming),
        };
        let counted = counted.shares.iter().filter(|share| !boot && name_at(half, share.ip));
        (seen + of_vcpus) as u64 + counted.map(|share| share.count).sum::<u64>()
    };
    let mut add = |side, name: &str, symbol: Option<String>, method: &str, boot, reason: Option<String>| {
        let hits = hits(side, name, boot);
        let state = match (&symbol, &reason) {
            (Some(_), _) if hits > 0 => ProbeState::Fired,
            (Some(_), _) => ProbeState::Attached,
            (None, Some(reason)) if !boot && !frame::is_absence(reason) => ProbeState::Failed,
            (None, _) => ProbeState::Missing,
        };
        all.push(Coverage {
            probe: name.to_owned(),
            family: CATALOGUE.by_name(name).map(|probe| probe.family.clone()).unwrap_or_default(),
            kernel: Place::from(side),
            symbol,
            method: method.to_owned(),
            state,
            hits,
            reason,
        });
    };
    for (side, half) in [(Side::Outgoing, &stitched.outgoing), (Side::Incoming, &stitched.incoming)] {
        for probe in half.coverage.iter().flat_map(|coverage| &coverage.probes) {
            let frame::ProbeState { probe, symbol, method, error, .. } = probe.clone();
            add(side, &probe, symbol, &method, false, error);
        }
    }
    let boot = stitched.incoming.buffers.get("boot");
    let has_event = |symbol: &str| {
        let line = format!("# {symbol}\n");
        boot.is_some_and(|boot| boot.formats.iter().any(|format| format.starts_with(&line)))
    };
    let cmdline = stitched.incoming.kernel.as_ref().map_or("", |kernel| kernel.cmdline.as_str());
    // Boot functions are traced only on demand (`blackout load --trace-boot`).
    let parameter = |name: &str| cmdline.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
    let asked = |name: &str, symbol: &str| {
        parameter(name).is_some_and(|values| values.split(',').any(|value| value == symbol))
    };
    let filter = parameter("ftrace_filter=");
    for probe in CATALOGUE.probes.iter().filter(|_| boot.is_some()) {
        let kprobe = || probe.symbols.iter().find(|symbol| has_event(&format!("kprobes/{symbol}"))).cloned();
        // Of devices only on demand: some are passed through.
        let always = probe.incoming.contains(&Way::BootCall);
        let sometimes = || probe.incoming.contains(&Way::BootDevice) && kprobe().is_some();
        if always || sometimes() {
            let symbol = kprobe();
            let absent = || "no such function in this kernel, or no CONFIG_KPROBE_EVENTS".to_owned();
            let reason = symbol.is_none().then(absent);
            add(Side::Incoming, &probe.name, symbol, "boot-kprobe", true, reason);
        }
        let wanted = |symbol: &&String| asked("trace_event=", symbol);
        if probe.incoming.contains(&Way::BootEvent) && probe.symbols.iter().any(|symbol| wanted(&symbol)) {
            let there = |symbol: &&String| has_event(&symbol.replace(':', "/"));
            let symbol = probe.symbols.iter().filter(wanted).find(there).cloned();
            add(Side::Incoming, &probe.name, symbol, "boot-event", true, None);
        }
        if filter.is_some() && probe.incoming.contains(&Way::BootEnter) {
            let symbol = probe.symbols.iter().find(|symbol| asked("ftrace_filter=", symbol)).cloned();
            add(Side::Incoming, &probe.name, symbol, "boot-function", true, None);
        }
    }
    all
}
