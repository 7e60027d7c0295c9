//! Holds runs to a budget.

use profiler_report::timeline::UNOBSERVED;

use super::{Budget, Check, Limits, SpanLimits, State, Unit};
use crate::{
    run::{Run, SpanKey, Time},
    stats::{self, Estimate, Tests},
    warnings::distinct,
};

/// Checks every limit of a budget. `base` is the baseline of relative limits, and may be empty.
pub fn check(budget: &Budget, base: &[Run], new: &[Run], alpha: f64) -> Vec<Check> {
    let mut nothing = Vec::new();
    let base = distinct("base", base.iter().collect(), &mut nothing);
    let new = distinct("new", new.iter().collect(), &mut nothing);
    let mut checker = Checker { base: &base, new: &new, alpha, tests: Tests::default(), checks: Vec::new() };
    checker.limits("window", &budget.window, window);
    for (id, limits) in &budget.phase {
        checker.limits(&format!("phase {id}"), limits, |run| phase(run, id));
    }
    for limits in &budget.span {
        checker.span(limits);
    }
    checker.count("failures", budget.count.failures, |run| run.failures.len() as u64);
    checker.count("lost events", budget.count.lost, |run| run.lost);
    checker.checks
}

struct Checker<'a> {
    base: &'a [&'a Run],
    new: &'a [&'a Run],
    alpha: f64,
    tests: Tests,
    checks: Vec<Check>,
}

/// A value, or why there is none.
type Value = Result<u64, String>;

impl Checker<'_> {
    fn limits(&mut self, what: &str, limits: &Limits, of: impl Fn(&Run) -> Value) {
        if let Some(max) = limits.max {
            self.absolute(what, max.0 as f64, &of);
        }
        if let Some(increase) = limits.max_increase {
            self.relative(what, 1.0 + increase.0, &of);
        }
    }

    fn span(&mut self, limits: &SpanLimits) {
        let mut what = format!("span {}", limits.name);
        for part in limits.subject.iter().chain(&limits.phase) {
            what += &format!(" [{part}]");
        }
        if let Some(max) = limits.max {
            self.absolute(&what, max.0 as f64, &|run: &Run| {
                let times = times(run, limits)?;
                Ok(times.iter().map(|time| time.longest_ns).max().unwrap_or(0))
            });
        }
        if let Some(increase) = limits.max_increase {
            self.relative(&what, 1.0 + increase.0, &|run: &Run| {
                Ok(times(run, limits)?.iter().map(|time| time.own_ns).sum())
            });
        }
        let calls = |run: &Run| {
            let matching = run.spans.iter().filter(|(key, _)| matches(key, limits));
            matching.map(|(_, time)| time.calls).sum()
        };
        self.count(&format!("calls of {what}"), limits.max_calls, calls);
    }

    fn absolute(&mut self, what: &str, limit: f64, of: &dyn Fn(&Run) -> Value) {
        let (values, reason) = values(self.new, of);
        let actual = stats::median(&values);
        let state = match actual {
            Some(actual) if actual > limit => State::Exceeded,
            Some(_) => State::Held,
            None => State::Unknown,
        };
        let what = what.to_owned();
        self.checks.push(Check { what, limit, actual, unit: Unit::Ns, state, reason });
    }

    fn relative(&mut self, what: &str, limit: f64, of: &dyn Fn(&Run) -> Value) {
        let ((base, why_base), (new, why_new)) = (values(self.base, of), values(self.new, of));
        let all = || self.base.iter().chain(self.new);
        let exact = all().all(|run| run.identity.deterministic)
            && [&base, &new].iter().all(|side| side.windows(2).all(|pair| pair[0] == pair[1]));
        let ratio = match (base.first(), new.first()) {
            (Some(base), Some(new)) if exact && *base > 0.0 => Some(Estimate::exact(new / base)),
            _ => {
                let rank = self.tests.interval_rank(base.len(), new.len(), self.alpha);
                stats::ratio(&base, &new, rank)
            }
        };
        let (state, reason) = match ratio {
            None => (State::Unknown, why_base.or(why_new).or(Some("no baseline to compare with".to_owned()))),
            Some(Estimate { low: Some(low), .. }) if low > limit => (State::Exceeded, None),
            Some(Estimate { high: Some(high), .. }) if high <= limit => (State::Held, None),
            Some(Estimate { low: Some(low), high: Some(high), .. }) => {
                (State::Unknown, Some(format!("undecided: between {low:.3} and {high:.3} times")))
            }
            Some(_) => {
                let least = crate::least_runs(1, self.alpha);
                (State::Unknown, Some(format!("too few runs: {least} a side are needed")))
            }
        };
        let actual = ratio.map(|ratio| ratio.value);
        self.checks.push(Check { what: what.to_owned(), limit, actual, unit: Unit::Ratio, state, reason });
    }

    fn count(&mut self, what: &str, limit: Option<u64>, of: impl Fn(&Run) -> u64) {
        let Some(limit) = limit else { return };
        let actual = self.new.iter().map(|run| of(run)).max();
        let state = match actual {
            Some(actual) if actual > limit => State::Exceeded,
            Some(_) => State::Held,
            None => State::Unknown,
        };
        let (what, reason) = (what.to_owned(), actual.is_none().then(|| "no run".to_owned()));
        let (limit, actual) = (limit as f64, actual.map(|actual| actual as f64));
        self.checks.push(Check { what, limit, actual, unit: Unit::Count, state, reason });
    }
}

/// The values there are, and why others are missing.
fn values(runs: &[&Run], of: &dyn Fn(&Run) -> Value) -> (Vec<f64>, Option<String>) {
    let (mut values, mut missing, mut why) = (Vec::new(), 0, None);
    for run in runs {
        match of(run) {
            Ok(value) => values.push(value as f64),
            Err(reason) => {
                missing += 1;
                why.get_or_insert(reason);
            }
        }
    }
    (values, why.map(|why| format!("{missing} of {} runs left out: {why}", runs.len())))
}

fn window(run: &Run) -> Value {
    let window = run.window.as_ref().ok_or("no window")?;
    window.spoiled.clone().map_or(Ok(window.ns), Err)
}

fn phase(run: &Run, id: &str) -> Value {
    match run.phases.iter().find(|phase| phase.id == id) {
        Some(phase) => phase.spoiled.clone().map_or(Ok(phase.ns), Err),
        // Without holes there is no such phase.
        None if id == UNOBSERVED => window(run).map(|_| 0),
        None => Err("the phase is not in it".to_owned()),
    }
}

fn matches(key: &SpanKey, limits: &SpanLimits) -> bool {
    key.name == limits.name
        && limits.subject.as_ref().is_none_or(|subject| *subject == key.subject)
        && limits.phase.as_ref().is_none_or(|phase| *phase == key.phase)
}

fn times<'a>(run: &'a Run, limits: &SpanLimits) -> Result<Vec<&'a Time>, String> {
    let matching = run.spans.iter().filter(|(key, _)| matches(key, limits));
    let times: Vec<&Time> = matching.map(|(_, time)| time).collect();
    if times.is_empty() {
        return Err("the span is not in it".to_owned());
    }
    if times.iter().any(|time| time.unknown) {
        return Err("the end of a call was not seen".to_owned());
    }
    Ok(times)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
