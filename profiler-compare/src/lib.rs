//! Runs of two builds -> is the new one's blackout longer, where, by how much, and what else differs.
//!
//! ```text
//! inputs    files, folders, patterns -> reports, runs (the only I/O)
//! stats     tests, intervals, change points: the arithmetic
//! compare   two sides of runs -> Comparison
//! budget    runs and a budget -> Checked
//! trend     runs of many builds -> Trend
//! resample  how often the gate is right, on real runs
//! render    comparisons, budgets and trends as text and in the formats of CI systems
//! ```
//!
//! [`compare()`] is pure: runs in, one [`Comparison`] out. The window is tested first, alone; then the phases as one
//! family; then guests, named spans and counted functions, which explain and never gate. A regression needs three
//! things: an adjusted p of at most alpha, an interval of the ratio above the smallest effect, and an
//! interval of the difference above the floor. The gate only fires for longer: of each two-sided test at
//! alpha that is half, so the window and the phases together stay at alpha.

pub mod budget;
mod changes;
pub mod inputs;
mod judge;
mod model;
mod named;
pub mod random;
pub mod render;
pub mod resample;
mod rows;
mod run;
mod spoil;
pub(crate) mod stats;
mod summary;
pub mod trend;
mod warnings;

pub(crate) use judge::least_runs;
pub use model::*;
pub use run::{Run, SpanKey};

use profiler_report::report;

use judge::Judge;
use named::Named;

/// What to hold differences to.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Level of the tests.
    pub alpha: f64,
    /// Smallest ratio that matters, less 1. `None`: 1 %; for deterministic runs 0.
    pub min_effect: Option<f64>,
    /// Smallest difference that matters, nanoseconds. `None`: 100 us; for deterministic runs 1 us.
    pub floor_ns: Option<u64>,
    /// Give verdicts although the machines differ.
    pub mixed_machines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 0.05, min_effect: None, floor_ns: None, mixed_machines: false }
    }
}

/// Compares two builds by their runs. Either side may be empty: the verdict is then inconclusive.
pub fn compare(base: &[Run], new: &[Run], options: &Options) -> Comparison {
    compare_some(base.iter().collect(), new.iter().collect(), options)
}

/// The same of runs that are kept elsewhere.
pub(crate) fn compare_some(base: Vec<&Run>, new: Vec<&Run>, options: &Options) -> Comparison {
    let mut warnings = Vec::new();
    let base = warnings::distinct("base", base, &mut warnings);
    let new = warnings::distinct("new", new, &mut warnings);
    let all = || base.iter().chain(&new);
    let deterministic = all().next().is_some() && all().all(|run| run.identity.deterministic);
    let (min_effect, floor_ns) = if deterministic { (0.0, 1_000) } else { (0.01, 100_000) };
    let limits = Limits {
        alpha: options.alpha,
        min_effect: options.min_effect.unwrap_or(min_effect),
        floor_ns: options.floor_ns.unwrap_or(floor_ns),
    };
    let refused = warnings::refusal(&base, &new, options.mixed_machines);
    let mut judge = Judge::new(limits, deterministic, refused);

    let mut window = rows::window(&base, &new);
    judge.family(window.as_mut_slice());
    let mut vms = rows::vms(&base, &new);
    judge.family(&mut vms);
    let mut phases = rows::phases(&base, &new);
    judge.family(&mut phases);
    let named_spans = Named::gather([&base, &new], |run| &run.spans);
    let (spans, spans_compared) = rows::named(Level::Span, &named_spans, &mut judge);
    let (hot, _) = rows::named(Level::Hot, &Named::gather([&base, &new], |run| &run.hot), &mut judge);
    warnings::of_rows(window.iter_mut().chain(&mut phases), limits.alpha, deterministic);
    warnings::of_runs(&base, &new, deterministic, &mut warnings);
    warnings.extend(warnings::left_out(window.iter().chain(&phases)));
    warnings.extend(warnings::undecided(&phases));

    let changes = changes::find(&base, &new, &named_spans, &phases, &spans);
    let verdict = verdict(window.as_ref(), &phases);
    let mut comparison = Comparison {
        schema: SCHEMA.to_owned(),
        tool: report::tool(),
        verdict,
        summary: String::new(),
        limits,
        deterministic,
        base: group(&base),
        new: group(&new),
        window,
        vms,
        phases,
        spans,
        spans_compared,
        hot,
        changes,
        budgets: Vec::new(),
        warnings,
    };
    comparison.summary = summary::of(&comparison);
    comparison
}

fn verdict(window: Option<&Row>, phases: &[Row]) -> Verdict {
    let of_window = window.map_or(Verdict::Inconclusive, |row| row.verdict);
    let any = |verdict| phases.iter().any(|row| row.verdict == verdict);
    match of_window {
        _ if any(Verdict::Regression) => Verdict::Regression,
        Verdict::Equivalent if any(Verdict::Improvement) => Verdict::Improvement,
        verdict => verdict,
    }
}

fn group(runs: &[&Run]) -> Group {
    let releases = runs.iter().filter_map(|run| run.incoming.as_ref()).map(|kernel| kernel.release.clone());
    let mut releases: Vec<String> = releases.collect();
    releases.sort();
    releases.dedup();
    let member = |run: &&Run| Member {
        name: run.name.clone(),
        id: run.identity.id.clone(),
        recorded_at: run.identity.recorded_at.clone(),
    };
    Group { releases, runs: runs.iter().map(member).collect() }
}

/// JSON Schema of [`Comparison`], generated from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Comparison).to_value()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
