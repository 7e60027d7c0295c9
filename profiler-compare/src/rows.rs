//! Runs of two sides -> rows, each with the runs that can be trusted there.

use std::collections::BTreeSet;

use super::{
    judge::Judge,
    model::*,
    named::{Named, Seen},
    run::{Run, SpanKey},
    stats::median,
};

/// Spans listed of those that differ; and of the others, the largest changes.
const MOST_SPANS: (usize, usize) = (200, 10);

/// The window.
pub fn window(base: &[&Run], new: &[&Run]) -> Option<Row> {
    let any = base.iter().chain(new).any(|run| run.window.is_some());
    let mut row = empty(Level::Window);
    "blackout window".clone_into(&mut row.name);
    let mut excluded = Vec::new();
    let mut of = |runs: &[&Run]| {
        let time = |run: &&Run| match run.window.as_ref().map(|window| (window.ns, &window.spoiled)) {
            Some((ns, None)) => Some(ns),
            Some((_, Some(reason))) => leave_out(run, reason, &mut excluded),
            None => leave_out(run, "no window", &mut excluded),
        };
        runs.iter().filter_map(time).collect()
    };
    (row.base.values_ns, row.new.values_ns) = (of(base), of(new));
    row.excluded = excluded;
    any.then_some(row)
}

/// The guests that both sides have.
pub fn vms(base: &[&Run], new: &[&Run]) -> Vec<Row> {
    let names =
        |runs: &[&Run]| -> BTreeSet<String> { runs.iter().flat_map(|run| run.vms.keys().cloned()).collect() };
    let row = |name: &String| {
        let mut excluded = Vec::new();
        let mut of = |runs: &[&Run]| -> Vec<u64> {
            let time = |run: &&Run| match run.vms.get(name) {
                Some(Ok(ns)) => Some(*ns),
                Some(Err(reason)) => leave_out(run, reason, &mut excluded),
                None => leave_out(run, "not in it", &mut excluded),
            };
            runs.iter().filter_map(time).collect()
        };
        let mut row = Row { name: name.clone(), ..empty(Level::Vm) };
        (row.base.values_ns, row.new.values_ns) = (of(base), of(new));
        row.excluded = excluded;
        row
    };
    names(base).intersection(&names(new)).map(row).collect()
}

/// The phases that both sides have, in the order of time.
pub fn phases(base: &[&Run], new: &[&Run]) -> Vec<Row> {
    let has = |runs: &[&Run], id: &str| runs.iter().any(|run| run.phases.iter().any(|p| p.id == id));
    order(base, new)
        .into_iter()
        .filter(|id| has(base, id) && has(new, id))
        .map(|id| phase(base, new, id))
        .collect()
}

/// Ids of all phases: each behind the one it follows where it is first met.
pub fn order<'a>(base: &[&'a Run], new: &[&'a Run]) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for run in new.iter().chain(base) {
        let mut after = 0;
        for phase in &run.phases {
            match order.iter().position(|known| *known == phase.id) {
                Some(at) => after = at + 1,
                None => {
                    order.insert(after.min(order.len()), &phase.id);
                    after += 1;
                }
            }
        }
    }
    order
}

fn phase(base: &[&Run], new: &[&Run], id: &str) -> Row {
    let mut row = empty(Level::Phase);
    id.clone_into(&mut row.phase);
    let mut excluded = Vec::new();
    let mut begins = [BTreeSet::new(), BTreeSet::new()];
    let sides = [(base, &mut row.base), (new, &mut row.new)];
    for ((runs, times), begins) in sides.into_iter().zip(&mut begins) {
        for run in runs {
            let Some(phase) = run.phases.iter().find(|phase| phase.id == id) else {
                excluded.push(Excluded { run: run.name.clone(), reason: "not in it".to_owned() });
                continue;
            };
            row.kernel = Some(phase.kernel);
            row.name.clone_from(&phase.title);
            if let Some(reason) = &phase.spoiled {
                leave_out(run, reason, &mut excluded);
                continue;
            }
            begins.insert(phase.begins_with.as_str());
            times.values_ns.push(phase.ns);
        }
    }
    if begins[0] != begins[1] && begins.iter().all(|begins| !begins.is_empty()) {
        let words = |begins: &BTreeSet<&str>| begins.iter().copied().collect::<Vec<_>>().join(" or ");
        let text = format!("begins with {} in base, with {} in new", words(&begins[0]), words(&begins[1]));
        row.warnings.push(text);
    }
    row.excluded = excluded;
    row
}

/// Named things (spans, counted functions) of one level, judged; those worth listing, and how many there
/// were.
pub fn named(level: Level, named: &Named, judge: &mut Judge) -> (Vec<Row>, usize) {
    let mut rows = matched(level, named);
    let count = rows.len();
    judge.test(&mut rows);
    let change = |row: &Row| {
        let middle = |times: &Times| {
            median(&times.values_ns.iter().map(|ns| *ns as f64).collect::<Vec<_>>()).unwrap_or(0.0)
        };
        (middle(&row.new) - middle(&row.base)).abs()
    };
    let differs = |row: &Row| match row.p_adjusted {
        Some(p) => p <= judge.limits.alpha,
        None => row.method == Method::Subtraction && change(row) > 0.0,
    };
    let mut ranked: Vec<(bool, f64, Row)> =
        rows.into_iter().map(|row| (differs(&row), change(&row), row)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let differing = ranked.iter().filter(|(differs, ..)| *differs).count().min(MOST_SPANS.0);
    ranked.truncate(differing + MOST_SPANS.1);
    let mut rows: Vec<Row> = ranked.into_iter().map(|(.., row)| row).collect();
    for row in &mut rows {
        judge.estimate(row);
        judge.decide(row);
    }
    rows.retain(|row| row.shift_ns.is_some_and(|shift| shift.value != 0.0));
    (rows, count)
}

/// What both sides have, in the order of identity; a run that does not have it, or did not see its end, has no value.
fn matched(level: Level, named: &Named) -> Vec<Row> {
    let times = |seen: &Seen, side: usize| {
        let known = || seen[side].iter().map(|(_, time)| time).filter(|time| !time.unknown);
        Times {
            median_ns: None,
            values_ns: known().map(|time| time.own_ns).collect(),
            calls: median(&known().map(|time| time.calls as f64).collect::<Vec<_>>()),
        }
    };
    let row = |(key, seen): (&SpanKey, &Seen)| {
        let (base, new) = (times(seen, 0), times(seen, 1));
        let both = !base.values_ns.is_empty() && !new.values_ns.is_empty();
        both.then(|| Row {
            phase: key.phase.clone(),
            name: key.name.clone(),
            kind: key.kind.clone(),
            subject: key.subject.clone(),
            base,
            new,
            ..empty(level)
        })
    };
    let mut found: Vec<(&SpanKey, &Seen)> = named.iter().collect();
    found.sort_unstable_by_key(|(key, _)| *key);
    found.into_iter().filter_map(row).collect()
}

fn leave_out(run: &Run, reason: &str, excluded: &mut Vec<Excluded>) -> Option<u64> {
    excluded.push(Excluded { run: run.name.clone(), reason: reason.to_owned() });
    None
}

fn empty(level: Level) -> Row {
    Row {
        level,
        phase: String::new(),
        kernel: None,
        name: String::new(),
        kind: String::new(),
        subject: String::new(),
        base: Times::default(),
        new: Times::default(),
        shift_ns: None,
        ratio: None,
        p: None,
        p_adjusted: None,
        method: Method::None,
        verdict: Verdict::Inconclusive,
        reason: None,
        runs_needed: None,
        excluded: Vec::new(),
        warnings: Vec::new(),
    }
}
