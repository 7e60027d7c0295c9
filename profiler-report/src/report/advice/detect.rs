//! Detectors: evidence -> findings. Pure.

use serde::Deserialize;

use super::{Case, Finding, console};
use crate::{
    duration,
    report::{Report, Span},
    timeline::CPU_WAKE,
};

/// Spans that are named in words; of the others their number is told.
const NAMED: usize = 3;
/// Bytes of a huge page.
const HUGE: u64 = 2 << 20;

/// A detector with its parameters.
#[derive(Debug, Deserialize)]
#[serde(tag = "detector", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Detector {
    /// The log's way to a serial line or a screen.
    ConsoleOutput,
    /// The time before the first log line that begins with one of these.
    LogGap {
        lines: Vec<String>,
        /// Not if the incoming kernel was given this parameter.
        unless_parameter: String,
    },
    /// `struct page` of all memory, initialised before the other CPUs run.
    EarlyPages,
    /// Spans inside the window.
    Spans {
        /// Names; a `*` at either end stands for anything. Empty: any.
        #[serde(default)]
        names: Vec<String>,
        /// But not these.
        #[serde(default)]
        except: Vec<String>,
        /// Kinds. Empty: any.
        #[serde(default)]
        kinds: Vec<String>,
        /// What they returned. Empty: anything.
        #[serde(default)]
        returned: Vec<i64>,
        /// Only those that are this part of their phase.
        #[serde(default)]
        least_share: f64,
        /// A finding for each, not one for all.
        #[serde(default)]
        each: bool,
        /// Also beside the critical path.
        #[serde(default)]
        beside: bool,
    },
    /// Memfds of many small folios, in these spans.
    SmallFolios { names: Vec<String> },
    /// CPUs that were started one after the other.
    SerialCpus,
    /// The programs were loaded on the only CPU.
    LookingOnOneCpu,
}

/// A span with the phase that lists it.
type Placed<'a> = (&'a str, u64, &'a Span);

impl Detector {
    /// What this run holds.
    pub fn findings(&self, case: &Case) -> Vec<Finding> {
        match self {
            Self::ConsoleOutput => console::output(case).into_iter().collect(),
            Self::LogGap { lines, unless_parameter } => {
                log_gap(case, lines, unless_parameter).into_iter().collect()
            }
            Self::EarlyPages => early_pages(case).into_iter().collect(),
            Self::Spans { names, except, kinds, returned, least_share, each, beside } => {
                let wanted = |phase_ns: u64, span: &Span| {
                    let length = span.duration_ns.unwrap_or(0);
                    (names.is_empty() || names.iter().any(|name| matches(name, &span.name)))
                        && !except.contains(&span.name)
                        && (kinds.is_empty() || kinds.contains(&span.kind))
                        && (returned.is_empty() || span.retval.is_some_and(|value| returned.contains(&value)))
                        && length as f64 >= phase_ns as f64 * least_share
                        && length > 0
                        && (span.critical || *beside)
                };
                let found = outermost(case.report, wanted);
                if *each {
                    found.iter().filter_map(|span| together(std::slice::from_ref(span))).collect()
                } else {
                    together(&found).into_iter().collect()
                }
            }
            Self::SmallFolios { names } => small_folios(case.report, names).into_iter().collect(),
            Self::SerialCpus => serial_cpus(case.report).into_iter().collect(),
            Self::LookingOnOneCpu => looking_on_one_cpu(case.report).into_iter().collect(),
        }
    }
}

/// Whether a name is meant: a `*` at either end stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(begin)) => name.starts_with(begin),
        (None, None) => name == pattern,
    }
}

/// Spans of the window that are wanted, but for those inside others that are.
fn outermost(report: &Report, wanted: impl Fn(u64, &Span) -> bool) -> Vec<Placed<'_>> {
    let mut found = Vec::new();
    for phase in &report.phases {
        let mut rest: Vec<&Span> = phase.spans.iter().rev().collect();
        while let Some(span) = rest.pop() {
            if wanted(phase.duration_ns, span) {
                found.push((phase.id.as_str(), phase.duration_ns, span));
            } else {
                rest.extend(span.spans.iter().rev());
            }
        }
    }
    found
}

/// One finding of several spans: their sum, in the phase that has most of it.
fn together(found: &[Placed]) -> Option<Finding> {
    let mut largest: Vec<&Placed> = found.iter().collect();
    largest.sort_by_key(|(_, _, span)| std::cmp::Reverse(span.duration_ns));
    let (_, phase_ns, first) = largest.first()?;
    let time: u64 = found.iter().filter_map(|(_, _, span)| span.duration_ns).sum();
    let told = |(_, _, span): &&Placed| {
        let subject = if span.subject.is_empty() { String::new() } else { format!(" [{}]", span.subject) };
        format!("{}{subject} {}", span.name, duration(span.duration_ns.unwrap_or(0)))
    };
    let mut spans: Vec<String> = largest.iter().take(NAMED).map(told).collect();
    let more = found.len().saturating_sub(NAMED);
    spans.extend((more > 0).then(|| format!("{more} more")));
    let names: Vec<&str> = largest.iter().take(NAMED).map(|(_, _, span)| span.name.as_str()).collect();
    let share = first.duration_ns.unwrap_or(0) as f64 / (*phase_ns).max(1) as f64;
    Some(Finding {
        phase: main_phase(found),
        saving_ns: time,
        facts: vec![
            ("spans", spans.join(", ")),
            ("names", names.join(",")),
            ("count", found.len().to_string()),
            ("time", duration(time)),
            ("share", format!("{:.0} %", share * 100.0)),
        ],
    })
}

/// The phase in which these spans are longest.
fn main_phase(found: &[Placed]) -> String {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (phase, _, span) in found {
        let ns = span.duration_ns.unwrap_or(0);
        match sums.iter_mut().find(|(known, _)| known == phase) {
            Some((_, sum)) => *sum += ns,
            None => sums.push((phase, ns)),
        }
    }
    sums.into_iter().max_by_key(|(_, ns)| *ns).map_or_else(String::new, |(phase, _)| phase.to_owned())
}

fn log_gap(case: &Case, lines: &[String], unless: &str) -> Option<Finding> {
    let cmdline = &case.report.incoming.as_ref()?.cmdline;
    let given = |word: &str| word.split_once('=').is_some_and(|(name, value)| name == unless && value != "0");
    if cmdline.split_ascii_whitespace().any(given) {
        return None;
    }
    let mut pairs = case.log.windows(2).filter_map(|pair| pair.first().zip(pair.last()));
    let (before, line) =
        pairs.find(|(_, line)| lines.iter().any(|begin| line.text.starts_with(begin.as_str())))?;
    let (from, to) = (before.at_ns?, line.at_ns?);
    Some(Finding {
        phase: phase_at(case.report, to)?,
        saving_ns: u64::try_from(to.saturating_sub(from)).ok()?,
        facts: vec![("line", line.text.clone())],
    })
}

/// The phase at a moment; `None` outside of the window.
pub fn phase_at(report: &Report, at_ns: i64) -> Option<String> {
    let holds = |phase: &&crate::report::Phase| {
        (phase.start_ns..phase.start_ns.saturating_add_unsigned(phase.duration_ns)).contains(&at_ns)
    };
    report.phases.iter().find(holds).map(|phase| phase.id.clone())
}

/// Between its lines about nodes and the next one the kernel initialises the memory map: `free_area_init`
/// (mm/mm_init.c, Linux 7.3) prints "Initmem setup node", then goes through all pages, telling of holes
/// ("On node"). With one thread a CPU it would take its part.
fn early_pages(case: &Case) -> Option<Finding> {
    let report = case.report;
    let config = report.incoming.as_ref()?.config.as_ref()?;
    if config.contains_key("CONFIG_DEFERRED_STRUCT_PAGE_INIT") || report.run.cpus < 2 {
        return None;
    }
    let begins = |text: &'static str| move |line: &super::Line| line.text.starts_with(text);
    let first = case.log.iter().rposition(begins("Initmem setup node"))?;
    let last = case.log.iter().rposition(begins("On node ")).unwrap_or(first).max(first);
    let (from, to) = (case.log.get(first)?.at_ns?, case.log.get(last + 1)?.at_ns?);
    let time = u64::try_from(to.saturating_sub(from)).ok()?;
    let cpus = report.run.cpus;
    Some(Finding {
        phase: phase_at(report, from)?,
        saving_ns: time - time / u64::from(cpus),
        facts: vec![("time", duration(time)), ("cpus", cpus.to_string())],
    })
}

/// Each folio costs the same, whatever its size: what huge ones would leave is their part of the number.
fn small_folios(report: &Report, names: &[String]) -> Option<Finding> {
    let small = |_: u64, span: &Span| {
        names.contains(&span.name)
            && span.critical
            && span.duration_ns.is_some()
            && folios(span).is_some_and(|(folios, bytes)| folios > huge(bytes))
    };
    let found = outermost(report, small);
    let mut saving = 0;
    // Each file is frozen, retrieved and finished: its folios are told once.
    let mut by_name: Vec<(&str, u64, u64)> = Vec::new();
    for (_, _, span) in &found {
        let (Some((folios, bytes)), Some(own)) = (folios(span), span.self_ns) else { continue };
        saving += own - u64::try_from(u128::from(own) * u128::from(huge(bytes)) / u128::from(folios)).ok()?;
        match by_name.iter_mut().find(|(name, ..)| *name == span.name) {
            Some((_, all, sum)) => (*all, *sum) = (*all + folios, *sum + bytes),
            None => by_name.push((&span.name, folios, bytes)),
        }
    }
    let (_, folios, bytes) = by_name.into_iter().max_by_key(|(_, folios, _)| *folios)?;
    let all = together(&found)?;
    let mut facts = all.facts;
    facts.extend([
        ("folios", folios.to_string()),
        ("mib", (bytes >> 20).to_string()),
        ("huge", huge(bytes).to_string()),
    ]);
    Some(Finding { phase: all.phase, saving_ns: saving, facts })
}

/// Folios and bytes, as a memfd's subject tells them.
fn folios(span: &Span) -> Option<(u64, u64)> {
    let part = |unit: &str| span.subject.split(", ").find_map(|part| part.strip_suffix(unit)?.parse().ok());
    Some((part(" folios").filter(|folios| *folios > 0)?, part(" bytes")?))
}

fn huge(bytes: u64) -> u64 {
    bytes.div_ceil(HUGE)
}

/// At once, the slowest CPU alone would be waited for.
fn serial_cpus(report: &Report) -> Option<Finding> {
    let mut wakes = outermost(report, |_, span| span.name == CPU_WAKE && span.duration_ns.is_some());
    wakes.sort_by_key(|(_, _, span)| span.start_ns);
    let end = |span: &Span| span.start_ns.saturating_add_unsigned(span.duration_ns.unwrap_or(0));
    let serial = wakes.windows(2).all(|pair| match pair {
        [(_, _, one), (_, _, next)] => end(one) <= next.start_ns,
        _ => true,
    });
    let times = || wakes.iter().filter_map(|(_, _, span)| span.duration_ns);
    let (time, longest) = (times().sum::<u64>(), times().max()?);
    (serial && wakes.len() > 1).then(|| Finding {
        phase: main_phase(&wakes),
        saving_ns: time - longest,
        facts: vec![("count", wakes.len().to_string()), ("time", duration(time))],
    })
}

fn looking_on_one_cpu(report: &Report) -> Option<Finding> {
    let in_window = report.overhead.in_window_ns.filter(|_| report.run.cpus == 1)?;
    Some(Finding { phase: "restore".to_owned(), saving_ns: in_window, facts: Vec::new() })
}
