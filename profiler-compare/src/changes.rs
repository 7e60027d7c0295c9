//! What differs beside the time: from "slower" to "why".
//!
//! Only what all runs of a side agree on counts: what changes from run to run is no property of a build.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use profiler_report::{catalogue::Place, duration, report::Kernel};

use super::{
    model::*,
    named::Named,
    rows,
    run::{Run, SpanKey, Time},
    stats::median,
};

/// Parameters that every run has its own value of.
const PER_RUN: [&str; 2] = ["blackout.run", "tsc_early_khz"];
/// Words that many names share, and that point nowhere.
const COMMON: [&str; 12] =
    ["and", "the", "config", "init", "kernel", "have", "support", "other", "set", "for", "first", "last"];

/// Everything that differs, what may explain a change of time first. `named` are the spans of the runs, `phases` and
/// `spans` what became of their times.
pub fn find(base: &[&Run], new: &[&Run], named: &Named, phases: &[Row], spans: &[Row]) -> Vec<Change> {
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
        (Place::Outgoing, (|run| run.outgoing.as_ref()) as for<'a> fn(&'a Run) -> Option<&'a Kernel>),
        (Place::Incoming, |run| run.incoming.as_ref()),
    ] {
        add(What::Build, Some(place), differing(base, new, |run| of(run).map(build)));
        let parameters_of = |run| of(run).map(|kernel: &Kernel| parameters(&kernel.cmdline));
        add(What::Parameter, Some(place), differing(base, new, parameters_of));
        add(What::Config, Some(place), differing(base, new, |run| of(run)?.config.as_ref().map(borrowed)));
        add(What::Probe, Some(place), differing(base, new, |run| Some(probes(run, place))));
    }
    let has = |runs: &[&Run], id: &str| runs.iter().any(|run| run.phases.iter().any(|p| p.id == id));
    for id in rows::order(base, new) {
        if has(base, id) != has(new, id) {
            let time = |runs| phase_time(runs, id);
            add(What::Phase, None, vec![(id.to_owned(), time(base), time(new))]);
        }
    }
    for (what, differing) in came_and_went([base, new], named) {
        add(what, None, vec![differing]);
    }
    hint(&mut changes, phases, spans);
    changes
}

/// Name, value in base, value in new.
type Differing = (String, Option<String>, Option<String>);

/// Values by name.
type Values<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// Names whose value all runs of a side agree on, and the other side's do not have.
fn differing<'a>(
    base: &[&'a Run],
    new: &[&'a Run],
    of: impl Fn(&'a Run) -> Option<Values<'a>>,
) -> Vec<Differing> {
    let Some((base, seen_in_base)) = agreed(base, &of) else { return Vec::new() };
    let Some((new, seen_in_new)) = agreed(new, &of) else { return Vec::new() };
    let names: BTreeSet<&str> = base.keys().chain(new.keys()).copied().collect();
    let compare = |name: &str| {
        let (of_base, of_new) = (base.get(name), new.get(name));
        let differs = match (of_base, of_new) {
            (Some(of_base), Some(of_new)) => of_base != of_new,
            (Some(_), None) => !seen_in_new.contains(name),
            (None, Some(_)) => !seen_in_base.contains(name),
            (None, None) => false,
        };
        let owned = |value: Option<&Cow<str>>| value.map(|value| value.to_string());
        differs.then(|| (name.to_owned(), owned(of_base), owned(of_new)))
    };
    names.into_iter().filter_map(compare).collect()
}

/// What all runs have with one value, and the names that any has. `None` if one run does not know.
fn agreed<'a>(
    runs: &[&'a Run],
    of: impl Fn(&'a Run) -> Option<Values<'a>>,
) -> Option<(Values<'a>, BTreeSet<&'a str>)> {
    let mut all = runs.iter().map(|run| of(run));
    let mut agreed = all.next()??;
    let mut seen: BTreeSet<&str> = agreed.keys().copied().collect();
    for one in all {
        let one = one?;
        agreed.retain(|name, value| one.get(name) == Some(value));
        seen.extend(one.into_keys());
    }
    Some((agreed, seen))
}

fn borrowed(values: &BTreeMap<String, String>) -> Values<'_> {
    values.iter().map(|(name, value)| (name.as_str(), Cow::from(value))).collect()
}

fn map<'a, const N: usize>(pairs: [(&'a str, Cow<'a, str>); N]) -> Values<'a> {
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn machine(run: &Run) -> Values<'_> {
    let of = &run.identity;
    map([
        ("host", Cow::from(&of.host)),
        ("architecture", Cow::from(&of.arch)),
        ("CPUs", of.cpus.to_string().into()),
        ("NUMA nodes", of.numa_nodes.to_string().into()),
        ("memory", format!("{} MiB", of.memory_bytes >> 20).into()),
    ])
}

fn build(kernel: &Kernel) -> Values<'_> {
    map([
        ("release", Cow::from(&kernel.release)),
        ("version", Cow::from(&kernel.version)),
        ("build id", Cow::from(&kernel.build_id)),
    ])
}

fn probes(run: &Run, place: Place) -> Values<'_> {
    let here = run.probes.iter().filter(|((_, at), _)| *at == place);
    here.map(|((probe, _), how)| (probe.as_str(), Cow::from(how))).collect()
}

/// Parameters by name; several of one name are one, in their order.
fn parameters(cmdline: &str) -> Values<'_> {
    let mut parameters = Values::new();
    for word in cmdline.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, "yes"));
        if PER_RUN.contains(&name) {
            continue;
        }
        let known = parameters.entry(name).or_default();
        if !known.is_empty() {
            *known += " ";
        }
        *known += value;
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

fn identity(key: &SpanKey) -> Identity<'_> {
    (&key.kind, &key.name, &key.subject)
}

/// Own times in runs that are sound, with the index of the run.
fn in_sound<'a>(
    seen: &'a [(usize, &Time)],
    runs: &'a [&Run],
) -> impl Iterator<Item = (usize, u64)> + use<'a> {
    seen.iter().filter(|(run, _)| !runs[*run].spoiled).map(|(run, time)| (*run, time.own_ns))
}

/// Initcalls and other spans that every sound run of one side has and none of the other, the longest
/// first.
fn came_and_went(sides: [&[&Run]; 2], named: &Named) -> Vec<(What, Differing)> {
    let sound = sides.map(|runs| runs.iter().filter(|run| !run.spoiled).count());
    if sound.contains(&0) {
        return Vec::new();
    }
    let mut present: HashMap<Identity, [bool; 2]> = HashMap::new();
    for (key, seen) in named.iter() {
        let present = present.entry(identity(key)).or_default();
        for (side, present) in present.iter_mut().enumerate() {
            *present |= in_sound(&seen[side], sides[side]).next().is_some();
        }
    }
    let mut one_sided: HashMap<(usize, Identity), BTreeMap<usize, u64>> = HashMap::new();
    for (key, seen) in named.iter() {
        let side = match present.get(&identity(key)) {
            Some([true, false]) => 0,
            Some([false, true]) => 1,
            _ => continue,
        };
        let times = one_sided.entry((side, identity(key))).or_default();
        for (run, ns) in in_sound(&seen[side], sides[side]) {
            *times.entry(run).or_default() += ns;
        }
    }
    let mut found = Vec::new();
    for ((side, (kind, name, subject)), times) in one_sided {
        if times.len() < sound[side] {
            continue;
        }
        let what = if kind == "initcall" { What::Initcall } else { What::Span };
        let label = if subject.is_empty() { name.to_owned() } else { format!("{name} [{subject}]") };
        let time = middle(times.values().copied());
        let differing = if side == 0 { (label, time, None) } else { (label, None, time) };
        found.push((times.into_values().max(), what, differing));
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
