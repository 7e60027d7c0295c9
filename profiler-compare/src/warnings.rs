//! What makes a comparison doubtful, or forbids a verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    model::{Row, Verdict},
    run::Run,
    stats::{kendall_p, two_groups},
};

/// Runs a side below which nothing is said of their order.
const FEW: usize = 3;
/// `MemTotal` of one machine differs a little between kernels.
const MEMORY_TOLERANCE: f64 = 0.05;

/// The runs of one side in the order of time, each live update once (a recording and its report are one).
/// Deterministic runs are all alike, also in their ids.
pub fn distinct<'a>(side: &str, runs: Vec<&'a Run>, warnings: &mut Vec<String>) -> Vec<&'a Run> {
    let mut seen = BTreeSet::new();
    let is_new = |run: &&Run| {
        run.identity.deterministic || run.identity.id.is_empty() || seen.insert(run.identity.id.clone())
    };
    let given = runs.len();
    let mut distinct: Vec<&Run> = runs.into_iter().filter(is_new).collect();
    let repeated = given - distinct.len();
    if repeated > 0 {
        warnings.push(format!("{repeated} files of the {side} side repeat a run: each run counts once"));
    }
    distinct.sort_by(|a, b| a.identity.recorded_at.cmp(&b.identity.recorded_at));
    distinct
}

/// Why no verdict may be given.
pub fn refusal(base: &[&Run], new: &[&Run], mixed_machines: bool) -> Option<String> {
    let all = || base.iter().chain(new);
    let windows: BTreeSet<&str> =
        all().filter_map(|run| run.window.as_ref()).map(|window| window.definition.as_str()).collect();
    if windows.len() > 1 {
        return Some(format!("windows of different kinds: {}", join(windows)));
    }
    if mixed_machines {
        return None;
    }
    let machine = |run: &&Run| {
        let of = &run.identity;
        format!("{} with {} CPUs and {} nodes", of.arch, of.cpus, of.numa_nodes)
    };
    let machines: BTreeSet<String> = all().map(machine).collect();
    if machines.len() > 1 {
        return Some(format!("the machines differ: {}", join(machines.iter().map(String::as_str))));
    }
    let memory = || all().map(|run| run.identity.memory_bytes).filter(|bytes| *bytes > 0);
    let (least, most) = (memory().min()?, memory().max()?);
    let mib = |bytes: u64| bytes >> 20;
    (most as f64 > least as f64 * (1.0 + MEMORY_TOLERANCE))
        .then(|| format!("the machines differ: {} to {} MiB of memory", mib(least), mib(most)))
}

/// Drift and two groups among the runs of a side, told at the row.
pub fn of_rows<'a>(rows: impl Iterator<Item = &'a mut Row>, alpha: f64, deterministic: bool) {
    if deterministic {
        return;
    }
    let rows: Vec<&mut Row> = rows.filter(|row| row.p.is_some()).collect();
    // Two sides of each row: one false warning in a comparison at most, at this level.
    let level = alpha / (2 * rows.len()).max(1) as f64;
    for row in rows {
        for (side, times) in [("base", &row.base), ("new", &row.new)] {
            let values: Vec<f64> = times.values_ns.iter().map(|ns| *ns as f64).collect();
            if kendall_p(&values).is_some_and(|p| p <= level) {
                row.warnings.push(format!("{side} drifts from run to run"));
            }
            if two_groups(&values).is_some() {
                row.warnings.push(format!("{side} falls in two groups: a median says little"));
            }
        }
    }
}

/// What the runs themselves say.
pub fn of_runs(base: &[&Run], new: &[&Run], deterministic: bool, warnings: &mut Vec<String>) {
    let all = || base.iter().chain(new);
    for (side, runs) in [("base", base), ("new", new)] {
        let builds: BTreeSet<String> = runs.iter().filter_map(|run| builds(run)).collect();
        if builds.len() > 1 {
            warnings.push(format!("{side} mixes builds: {}", join(builds.iter().map(String::as_str))));
        }
        let failed = runs.iter().filter(|run| !run.failures.is_empty()).count();
        if failed > 0 {
            warnings.push(format!("{failed} of {} {side} runs report failures", runs.len()));
        }
    }
    let hosts: BTreeSet<&str> = all().map(|run| run.identity.host.as_str()).collect();
    if hosts.len() > 1 {
        warnings.push(format!("runs of different hosts: {}", join(hosts)));
    }
    if !deterministic && all().any(|run| run.identity.deterministic) {
        warnings.push("deterministic and other runs are mixed".to_owned());
    }
    let ends: BTreeSet<String> = all()
        .filter_map(|run| run.window.as_ref())
        .map(|window| format!("{} to {}", window.ends.0, window.ends.1))
        .collect();
    if ends.len() > 1 {
        let ends = join(ends.iter().map(String::as_str));
        warnings.push(format!("windows with different ends: {ends}"));
    }
    if deterministic {
        return;
    }
    let ids = |runs: &[&Run]| runs.iter().map(|run| run.identity.id.clone()).collect::<BTreeSet<_>>();
    let shared = ids(base).intersection(&ids(new)).filter(|id| !id.is_empty()).count();
    if shared > 0 {
        warnings.push(format!("{shared} runs are on both sides"));
    }
    if base.len() >= FEW
        && new.len() >= FEW
        && shared == 0
        && (one_after_the_other(base, new) || one_after_the_other(new, base))
    {
        warnings.push(
            "the builds did not take turns: if the machine changed in between, it looks like a difference"
                .to_owned(),
        );
    }
}

/// Runs that were left out, by reason.
pub fn left_out<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<String> {
    let mut reasons: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for row in rows {
        for excluded in &row.excluded {
            let (runs, places) = reasons.entry(&excluded.reason).or_default();
            runs.insert(&excluded.run);
            places.insert(if row.phase.is_empty() { "window" } else { &row.phase });
        }
    }
    let text = |(reason, (runs, places)): (&str, (BTreeSet<&str>, BTreeSet<&str>))| {
        format!("{} runs left out of {}: {reason}", runs.len(), join(places))
    };
    reasons.into_iter().map(text).collect()
}

/// Why phases are undecided, each reason once; a refusal is in the summary already.
pub fn undecided(phases: &[Row]) -> BTreeSet<String> {
    let undecided =
        phases.iter().filter(|row| row.verdict == Verdict::Inconclusive && row.runs_needed.is_some());
    undecided.filter_map(|row| row.reason.clone()).map(|reason| format!("phases: {reason}")).collect()
}

/// Both kernels; `None` of a run that did not see both.
fn builds(run: &Run) -> Option<String> {
    let of = |kernel: &profiler_report::report::Kernel| {
        let id: String = kernel.build_id.chars().take(12).collect();
        format!("{} {id}", kernel.release)
    };
    Some(format!("{} -> {}", of(run.outgoing.as_ref()?), of(run.incoming.as_ref()?)))
}

fn one_after_the_other(first: &[&Run], second: &[&Run]) -> bool {
    let at = |run: Option<&&Run>| run.map(|run| run.identity.recorded_at.clone());
    at(first.last()) < at(second.first())
}

/// At most four, and how many more.
fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    let shown = words.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    if words.len() > 4 { format!("{shown} and {} more", words.len() - 4) } else { shown }
}
