//! What a comparison keeps of one report.

use std::collections::{BTreeMap, HashMap};

use profiler_report::{
    catalogue::Place,
    report::{self, Kernel, Report, Span, VmStatus},
};

use super::spoil::Spoil;

/// One live update: one replicate.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where it came from, for messages.
    pub name: String,
    /// Identity and machine.
    pub identity: report::Run,
    /// The kernel that was replaced.
    pub outgoing: Option<Kernel>,
    /// The kernel that replaced it.
    pub incoming: Option<Kernel>,
    /// The window; `None` if the report has none.
    pub window: Option<Window>,
    /// Blackout of each guest by its name, nanoseconds; `Err` says why it cannot be compared.
    pub vms: BTreeMap<String, Result<u64, String>>,
    /// Its phases, in the order of time; cells of one name are one.
    pub phases: Vec<Phase>,
    /// Time of each named span that can be trusted, by identity.
    pub spans: HashMap<SpanKey, Time>,
    /// The same for counted functions.
    pub hot: HashMap<SpanKey, Time>,
    /// How each probe was attached: probe and kernel, symbol and method.
    pub probes: BTreeMap<(String, Place), String>,
    /// Failures in words.
    pub failures: Vec<String>,
    /// Events lost, anywhere.
    pub lost: u64,
    /// Time no evidence covers, nanoseconds.
    pub unobserved_ns: u64,
    /// Something in this run cannot be compared.
    pub spoiled: bool,
}

/// The window of one run.
#[derive(Debug, Clone)]
pub struct Window {
    /// `vm`, `host` or `marks`.
    pub definition: String,
    /// What begins and what ends it.
    pub ends: (String, String),
    /// Its length, nanoseconds.
    pub ns: u64,
    /// Why it cannot be compared.
    pub spoiled: Option<String>,
}

/// One phase of one run.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Stable name.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Whose time it is.
    pub kernel: Place,
    /// What begins it.
    pub begins_with: String,
    /// Its length, nanoseconds.
    pub ns: u64,
    /// Why it cannot be compared.
    pub spoiled: Option<String>,
}

/// Identity of a span across runs: never its position.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanKey {
    /// Phase it begins in.
    pub phase: String,
    /// Family of its probe.
    pub kind: String,
    /// Function, initcall or command.
    pub name: String,
    /// Session, token, device.
    pub subject: String,
}

/// Time of all calls of one identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Own time (that of spans inside not included), nanoseconds.
    pub own_ns: u64,
    /// Longest call with what is inside it, nanoseconds.
    pub longest_ns: u64,
    /// Calls.
    pub calls: u64,
    /// The end of a call was not seen: the times are unknown.
    pub unknown: bool,
}

impl Run {
    /// Takes what is compared out of a report.
    pub fn new(name: impl Into<String>, report: &Report) -> Self {
        let spoil = Spoil::of(report);
        let window = report.window.as_ref().map(|window| Window {
            definition: window.definition.clone(),
            ends: (window.start.clone(), window.end.clone()),
            ns: window.duration_ns,
            spoiled: spoil.window(),
        });
        let vms = report.vms.iter().map(|vm| {
            let measured = vm.blackout_ns.filter(|_| vm.status == VmStatus::Measured);
            let why = || vm.why.clone().unwrap_or_else(|| "its blackout is not known".to_owned());
            let time = spoil.window().map_or_else(|| measured.ok_or_else(why), Err);
            (vm.name.clone(), time)
        });
        let vms = vms.collect();
        let mut phases: Vec<Phase> = Vec::new();
        let mut spans = HashMap::new();
        for (index, phase) in report.phases.iter().enumerate() {
            let spoiled = spoil.phase(report, index);
            if spoiled.is_none() {
                gather(&phase.id, &phase.spans, &spoil, &mut spans);
            }
            if let Some(known) = phases.iter_mut().find(|known| known.id == phase.id) {
                known.ns = known.ns.saturating_add(phase.duration_ns);
                known.spoiled = known.spoiled.take().or(spoiled);
                continue;
            }
            phases.push(Phase {
                id: phase.id.clone(),
                title: phase.title.clone(),
                kernel: phase.kernel,
                begins_with: phase.begins_with.clone(),
                ns: phase.duration_ns,
                spoiled,
            });
        }
        let hot = report.hot.iter().filter(|_| spoil.hot().is_none()).map(|hot| {
            let kind = format!("{:?}", hot.kernel).to_lowercase();
            let subject = hot.subject.clone();
            let key = SpanKey { phase: hot.phase.clone(), kind, name: hot.probe.clone(), subject };
            let time = Time {
                own_ns: hot.total_ns.unwrap_or(0),
                longest_ns: hot.max_ns.unwrap_or(0),
                calls: hot.count,
                unknown: hot.total_ns.is_none(),
            };
            (key, time)
        });
        let attached = report.coverage.iter().filter_map(|probe| {
            let symbol = probe.symbol.as_ref()?;
            Some(((probe.probe.clone(), probe.kernel), format!("{symbol} ({})", probe.method)))
        });
        Self {
            name: name.into(),
            identity: report.run.clone(),
            outgoing: report.outgoing.clone(),
            incoming: report.incoming.clone(),
            window,
            vms,
            phases,
            spans,
            hot: hot.collect(),
            probes: attached.collect(),
            failures: report.failures.iter().map(|failure| failure.message.clone()).collect(),
            lost: report.loss.total(),
            unobserved_ns: report.unobserved_ns,
            spoiled: spoil.any(),
        }
    }
}

/// Adds up the spans of a phase, whatever their depth.
fn gather(phase: &str, spans: &[Span], spoil: &Spoil, into: &mut HashMap<SpanKey, Time>) {
    for span in spans {
        let key = SpanKey {
            phase: phase.to_owned(),
            kind: span.kind.clone(),
            name: span.name.clone(),
            subject: span.subject.clone(),
        };
        let time = into.entry(key).or_default();
        time.calls += 1;
        match (span.duration_ns, span.self_ns) {
            (Some(duration), Some(own)) if !spoil.span(&span.name) => {
                time.own_ns = time.own_ns.saturating_add(own);
                time.longest_ns = time.longest_ns.max(duration);
            }
            _ => time.unknown = true,
        }
        gather(phase, &span.spans, spoil, into);
    }
}
