//! What differs beside the time: from "slower" to "why".
//!
//! Only what all runs of a side agree on counts: what changes from run to run is no property of a build.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{model::*, rows, run::Run, stats::median};
use crate::{
    catalogue::Place,
    report::{Kernel, text::duration},
};

/// Parameters that every run has its own value of.
const PER_RUN: [&str; 2] = ["blackout.run", "tsc_early_khz"];
/// Words that many names share, and that point nowhere.
const COMMON: [&str; 12] =
    ["and", "the", "config", "init", "kernel", "have", "support", "other", "set", "for", "first", "last"];

/// Everything that differs, what may explain a change of time first.
pub fn find(base: &[&Run], new: &[&Run], phases: &[Row], spans: &[Row]) -> Vec<Change> {
    if base.is_empty() || new.is_empty() {
        return Vec::new();
    }
    let mut changes = Vec::new();
    let mut add = |what, kernel, differing: Vec<Differing>| {
        changes.extend(differing.into_iter().map(|(name, base, new)| Change {
            what,
            kernel,
            name,
            base,
            new,
            hints: Vec::new(),
        }));
    };
    add(What::Machine, None, differing(base, new, |run| Some(machine(run))));
    for (place, of) in [
        (Place::Outgoing, (|run: &Run| run.outgoing.clone()) as fn(&Run) -> Option<Kernel>),
        (Place::Incoming, |run: &Run| run.incoming.clone()),
    ] {
        add(What::Build, Some(place), differing(base, new, |run| of(run).map(|kernel| build(&kernel))));
        let parameters = |run: &Run| of(run).map(|kernel| parameters(&kernel.cmdline));
        add(What::Parameter, Some(place), differing(base, new, parameters));
        add(What::Config, Some(place), differing(base, new, |run| of(run)?.config));
        let probes = |run: &Run| {
            let here = run.probes.iter().filter(|((_, at), _)| *at == place);
            Some(here.map(|((probe, _), how)| (probe.clone(), how.clone())).collect())
        };
        add(What::Probe, Some(place), differing(base, new, probes));
    }
    let has = |runs: &[&Run], id: &str| runs.iter().any(|run| run.phases.iter().any(|p| p.id == id));
    for id in rows::order(base, new) {
        if has(base, id) != has(new, id) {
            let time = |runs| phase_time(runs, id);
            add(What::Phase, None, vec![(id.to_owned(), time(base), time(new))]);
        }
    }
    for (what, differing) in came_and_went(base, new) {
        add(what, None, vec![differing]);
    }
    hint(&mut changes, phases, spans);
    changes
}

/// Name, value in base, value in new.
type Differing = (String, Option<String>, Option<String>);

/// Values by name.
type Values = BTreeMap<String, String>;

/// Names whose value all runs of a side agree on, and the other side's do not have.
fn differing(base: &[&Run], new: &[&Run], of: impl Fn(&Run) -> Option<Values>) -> Vec<Differing> {
    let Some((base, seen_in_base)) = agreed(base, &of) else { return Vec::new() };
    let Some((new, seen_in_new)) = agreed(new, &of) else { return Vec::new() };
    let names: BTreeSet<&String> = base.keys().chain(new.keys()).collect();
    let compare = |name: &String| {
        let (of_base, of_new) = (base.get(name), new.get(name));
        let differs = match (of_base, of_new) {
            (Some(of_base), Some(of_new)) => of_base != of_new,
            (Some(_), None) => !seen_in_new.contains(name),
            (None, Some(_)) => !seen_in_base.contains(name),
            (None, None) => false,
        };
        differs.then(|| (name.clone(), of_base.cloned(), of_new.cloned()))
    };
    names.into_iter().filter_map(compare).collect()
}

/// What all runs have with one value, and the names that any has. `None` if one run does not know.
fn agreed(runs: &[&Run], of: impl Fn(&Run) -> Option<Values>) -> Option<(Values, BTreeSet<String>)> {
    let mut all = runs.iter().map(|run| of(run));
    let mut agreed = all.next()??;
    let mut seen: BTreeSet<String> = agreed.keys().cloned().collect();
    for one in all {
        let one = one?;
        agreed.retain(|name, value| one.get(name) == Some(value));
        seen.extend(one.into_keys());
    }
    Some((agreed, seen))
}

fn map<const N: usize>(pairs: [(&str, String); N]) -> Values {
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, v)| (name.to_owned(), v)).collect()
}

fn machine(run: &Run) -> Values {
    let of = &run.identity;
    map([
        ("host", of.host.clone()),
        ("architecture", of.arch.clone()),
        ("CPUs", of.cpus.to_string()),
        ("NUMA nodes", of.numa_nodes.to_string()),
        ("memory", format!("{} MiB", of.memory_bytes >> 20)),
    ])
}

fn build(kernel: &Kernel) -> Values {
    map([
        ("release", kernel.release.clone()),
        ("version", kernel.version.clone()),
        ("build id", kernel.build_id.clone()),
    ])
}

/// Parameters by name; several of one name are one, in their order.
fn parameters(cmdline: &str) -> Values {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for word in cmdline.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, "yes"));
        if PER_RUN.contains(&name) {
            continue;
        }
        let known = parameters.entry(name.to_owned()).or_default();
        if !known.is_empty() {
            known.push(' ');
        }
        known.push_str(value);
    }
    parameters
}

fn phase_time(runs: &[&Run], id: &str) -> Option<String> {
    let times = runs.iter().filter_map(|run| run.phases.iter().find(|phase| phase.id == id));
    middle(times.map(|phase| phase.ns))
}

fn middle(ns: impl Iterator<Item = u64>) -> Option<String> {
    median(&ns.map(|ns| ns as f64).collect::<Vec<_>>()).map(|ns| duration(ns.round() as u64))
}

/// Kind, name and subject: without the phase, for a span near a border may begin in either.
type Identity<'a> = (&'a str, &'a str, &'a str);

/// Own time of each span in each sound run, and how many runs are sound.
fn times<'a>(runs: &[&'a Run]) -> (usize, HashMap<Identity<'a>, Vec<u64>>) {
    let mut found: HashMap<Identity, Vec<u64>> = HashMap::new();
    let sound: Vec<&&Run> = runs.iter().filter(|run| !run.spoiled).collect();
    for run in &sound {
        let mut of_run: HashMap<Identity, u64> = HashMap::new();
        for (key, time) in &run.spans {
            *of_run.entry((&key.kind, &key.name, &key.subject)).or_default() += time.own_ns;
        }
        for (identity, ns) in of_run {
            found.entry(identity).or_default().push(ns);
        }
    }
    (sound.len(), found)
}

/// Initcalls and other spans that every sound run of one side has and none of the other, the longest
/// first.
fn came_and_went(base: &[&Run], new: &[&Run]) -> Vec<(What, Differing)> {
    let (of_base, of_new) = (times(base), times(new));
    if of_base.0 == 0 || of_new.0 == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for ((runs, one), (_, other), came) in [(&of_base, &of_new, false), (&of_new, &of_base, true)] {
        let only = one.iter().filter(|(identity, ns)| ns.len() == *runs && !other.contains_key(*identity));
        for ((kind, name, subject), ns) in only {
            let what = if *kind == "initcall" { What::Initcall } else { What::Span };
            let label = if subject.is_empty() { (*name).to_owned() } else { format!("{name} [{subject}]") };
            let time = middle(ns.iter().copied());
            let differing = if came { (label, None, time) } else { (label, time, None) };
            found.push((ns.iter().copied().max().unwrap_or(0), what, differing));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
    found.into_iter().map(|(_, what, differing)| (what, differing)).collect()
}

/// Marks changes whose names share words with phases that changed, and with the spans that changed in
/// them; sorts by how many.
fn hint(changes: &mut [Change], phases: &[Row], spans: &[Row]) {
    let decided = |row: &&Row| matches!(row.verdict, Verdict::Regression | Verdict::Improvement);
    let vocabulary = |phase: &Row| {
        let mut all = words(&phase.phase);
        all.extend(words(&phase.name));
        for span in spans.iter().filter(decided).filter(|span| span.phase == phase.phase) {
            all.extend(words(&span.name));
        }
        all
    };
    let changed: Vec<(&str, BTreeSet<String>)> =
        phases.iter().filter(decided).map(|row| (row.phase.as_str(), vocabulary(row))).collect();
    let mut scored: Vec<usize> = Vec::new();
    for change in changes.iter_mut() {
        let of_name = words(&change.name);
        let mut shared: Vec<(usize, &str)> = changed
            .iter()
            .map(|(phase, words)| (words.intersection(&of_name).count(), *phase))
            .filter(|(shared, _)| *shared > 0)
            .collect();
        shared.sort_by(|a, b| b.cmp(a));
        scored.push(shared.first().map_or(0, |(shared, _)| *shared));
        change.hints = shared.into_iter().map(|(_, phase)| phase.to_owned()).collect();
    }
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(scored[*index]));
    let sorted: Vec<Change> = order.into_iter().map(|index| changes[index].clone()).collect();
    changes.clone_from_slice(&sorted);
}

fn words(name: &str) -> BTreeSet<String> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    words.filter(|word| word.len() > 2 && !COMMON.contains(&word.as_str())).collect()
}
