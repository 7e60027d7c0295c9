//! Facts -> what will come of each probe.

use profiler_report::{
    catalogue::{self, Catalogue, Place, Way},
    recording::{Side, frame::ProbeState},
};

use super::{Expected, Facts, Family, Options, Probe, Share};

/// Every probe that would be wanted, in the order of the report's coverage.
pub fn forecast(facts: &Facts, catalogue: &Catalogue, options: &Options) -> Vec<Probe> {
    let mut all = Vec::new();
    for side in [Side::Outgoing, Side::Incoming] {
        match &facts.tried {
            Ok(tried) => {
                let states = if side == Side::Outgoing { &tried.outgoing } else { &tried.incoming };
                all.extend(states.iter().map(|state| attached(catalogue, side, state)));
            }
            Err(_) => all.extend(catalogue.probes.iter().filter_map(|probe| by_name(facts, probe, side))),
        }
    }
    all.extend(catalogue.probes.iter().flat_map(|probe| boot(facts, probe, options)));
    all
}

/// What came of attaching it.
fn attached(catalogue: &Catalogue, side: Side, state: &ProbeState) -> Probe {
    let expected = match &state.symbol {
        Some(_) => Expected::Attached,
        None if state.is_missing() => Expected::Missing,
        None => Expected::Failed,
    };
    let ProbeState { probe, symbol, method, error, .. } = state.clone();
    let known = catalogue.by_name(&probe);
    let family = known.map(|probe| probe.family.clone()).unwrap_or_default();
    let reason = if expected == Expected::Missing { known.and_then(absence).or(error) } else { error };
    Probe { probe, family, kernel: side.into(), method, symbol, state: expected, reason, only_if: None }
}

/// Why a kernel may have nothing of it.
fn absence(probe: &catalogue::Probe) -> Option<String> {
    (!probe.since.is_empty()).then(|| format!("since {}", probe.since))
}

/// What names alone tell of a probe of our own.
fn by_name(facts: &Facts, probe: &catalogue::Probe, side: Side) -> Option<Probe> {
    let ways = if side == Side::Outgoing { &probe.outgoing } else { &probe.incoming };
    let own = |way: &Way| matches!(way, Way::Call | Way::Enter | Way::Tracepoint);
    let way = ways.iter().copied().find(own)?;
    let event = way == Way::Tracepoint && probe.symbols.iter().any(|symbol| symbol.contains(':'));
    let method = if way == Way::Tracepoint { "tracepoint" } else { "kprobe" };
    let known = if event { &facts.events } else { &facts.symbols };
    let (state, symbol, reason) = match known {
        _ if probe.callback().is_some() => {
            (Expected::Unknown, None, Some("file handlers are found when probes are attached".to_owned()))
        }
        // A program of ours, on whatever function it needs.
        Ok(_) if way == Way::Tracepoint && !event => (Expected::Unknown, None, None),
        Ok(known) => match probe.symbols.iter().find(|symbol| known.contains(symbol.as_str())) {
            Some(symbol) => (Expected::Attached, Some(symbol.clone()), None),
            None => (Expected::Missing, None, absence(probe)),
        },
        Err(error) => (Expected::Unknown, None, Some(error.clone())),
    };
    Some(entry(probe, side, method, (state, symbol, reason)))
}

/// What the incoming kernel's boot would show of it, if it is of this kernel's build.
fn boot(facts: &Facts, probe: &catalogue::Probe, options: &Options) -> Vec<Probe> {
    let by = |known: &super::Seen<std::collections::BTreeSet<String>>| match known {
        Ok(known) => match probe.symbols.iter().find(|symbol| known.contains(symbol.as_str())) {
            Some(symbol) => (Expected::Attached, Some(symbol.clone()), None),
            None => (Expected::Missing, None, None),
        },
        Err(error) => (Expected::Unknown, None, Some(error.clone())),
    };
    let kprobe = || match facts.kprobes {
        true => by(&facts.symbols),
        false => (Expected::Missing, None, Some("no kprobe events (CONFIG_KPROBE_EVENTS)".to_owned())),
    };
    let function = || match facts.tracers.as_ref().map(|all| all.iter().any(|tracer| tracer == "function")) {
        Ok(false) => {
            (Expected::Missing, None, Some("no function tracer (CONFIG_FUNCTION_TRACER)".to_owned()))
        }
        Ok(true) => by(&facts.symbols),
        Err(error) => (Expected::Unknown, None, Some(error.clone())),
    };
    let way = |way: &Way| match way {
        Way::BootCall => Some(("boot-kprobe", kprobe())),
        Way::BootDevice => Some(("boot-kprobe", kprobe())),
        Way::BootEvent => Some(("boot-event", by(&facts.events))),
        Way::BootEnter if options.trace_boot => Some(("boot-function", function())),
        _ => None,
    };
    let ways = probe.incoming.iter().filter_map(way);
    // `blackout load` asks for these if it finds one.
    let of_device = probe.incoming.contains(&Way::BootDevice);
    let only_if = of_device.then(|| "a device is passed through to a guest".to_owned());
    let entries = ways.map(|(method, outcome)| entry(probe, Side::Incoming, method, outcome));
    entries.map(|entry| Probe { only_if: only_if.clone(), ..entry }).collect()
}

fn entry(
    probe: &catalogue::Probe,
    side: Side,
    method: &str,
    (state, symbol, reason): (Expected, Option<String>, Option<String>),
) -> Probe {
    let (name, family) = (probe.name.clone(), probe.family.clone());
    let method = method.to_owned();
    Probe { probe: name, family, kernel: side.into(), method, symbol, state, reason, only_if: None }
}

/// The table by family, in the catalogue's order.
pub fn families(catalogue: &Catalogue, probes: &[Probe]) -> Vec<Family> {
    let mut names: Vec<&str> = Vec::new();
    for probe in &catalogue.probes {
        if !names.contains(&probe.family.as_str()) {
            names.push(&probe.family);
        }
    }
    let family = |name: &str| {
        let members = || catalogue.probes.iter().filter(move |probe| probe.family == name);
        // The best that is said of a probe in one kernel; `None` if it is not wanted there.
        let best = |of: &catalogue::Probe, place: Place| {
            let entries = probes.iter().filter(|entry| entry.probe == of.name && entry.kernel == place);
            let states: Vec<Expected> = entries.map(|entry| entry.state).collect();
            let order = [Expected::Attached, Expected::Unknown];
            order.into_iter().find(|state| states.contains(state)).or_else(|| states.first().copied())
        };
        let share = |place: Place| {
            let states: Vec<Expected> = members().filter_map(|probe| best(probe, place)).collect();
            let count = |wanted| states.iter().filter(|state| **state == wanted).count() as u32;
            Share {
                attached: count(Expected::Attached),
                unknown: count(Expected::Unknown),
                wanted: states.len() as u32,
            }
        };
        let lost = |probe: &&catalogue::Probe| {
            let ends = [Place::Outgoing, Place::Incoming].map(|place| best(probe, place));
            let is_lost = |end: &Expected| matches!(end, Expected::Missing | Expected::Failed);
            ends.iter().any(Option::is_some) && ends.iter().flatten().all(is_lost)
        };
        Family {
            family: name.to_owned(),
            outgoing: share(Place::Outgoing),
            incoming: share(Place::Incoming),
            without: members().filter(lost).map(|probe| probe.name.clone()).collect(),
        }
    };
    names
        .into_iter()
        .map(family)
        .filter(|family| family.outgoing.wanted + family.incoming.wanted > 0)
        .collect()
}
