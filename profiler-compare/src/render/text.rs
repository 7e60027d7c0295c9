//! The comparison for a person at a terminal: verdict, where, by how much, why.

use std::fmt::{self, Write};

use profiler_report::duration;

use super::super::{
    budget::{Check, Checked, State},
    judge::TOO_MANY,
    model::*,
    summary::{label, percent},
};

/// Spans, changes that are listed.
const SPANS: usize = 12;
const CHANGES: usize = 20;

/// Renders the whole comparison; no colour.
pub fn comparison(of: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, of);
    out
}

/// Renders checked budgets.
pub fn budget(of: &Checked) -> String {
    let mut out = String::new();
    let _ = budgets(&mut out, &of.checks);
    out
}

fn write(out: &mut String, of: &Comparison) -> fmt::Result {
    writeln!(out, "{}: {}", verdict(of.verdict).to_uppercase(), of.summary)?;
    for (name, group) in [("base", &of.base), ("new", &of.new)] {
        writeln!(out, "{name:<5} {} runs of {}", group.runs.len(), releases(group))?;
    }
    writeln!(
        out,
        "\n{:<17}{:>12} {:>12} {:>11} {:>8}  {:<23}{:>7}  verdict",
        "phase", "base", "new", "change", "", "interval", "p",
    )?;
    for row in of.window.iter().chain(&of.vms).chain(&of.phases) {
        self::row(out, row, &label(row))?;
    }
    let spans: Vec<&Row> = of.spans.iter().chain(&of.hot).take(SPANS).collect();
    if !spans.is_empty() {
        writeln!(out, "\nspans by their own time: the largest changes of {}", of.spans_compared)?;
        for span in spans {
            self::span(out, span)?;
        }
    }
    changes(out, of)?;
    if !of.budgets.is_empty() {
        writeln!(out)?;
        budgets(out, &of.budgets)?;
    }
    if !of.warnings.is_empty() {
        writeln!(out)?;
    }
    for warning in &of.warnings {
        writeln!(out, "warning  {warning}")?;
    }
    let Limits { alpha, min_effect, floor_ns } = of.limits;
    let how = if of.deterministic { "deterministic runs, subtracted" } else { "Mann-Whitney, Holm" };
    writeln!(
        out,
        "\nlimits   {how}; alpha {alpha}, at least {} % and {}",
        min_effect * 100.0,
        duration(floor_ns)
    )
}

fn row(out: &mut String, row: &Row, name: &str) -> fmt::Result {
    let time = |times: &Times| times.median_ns.map_or("?".to_owned(), |ns| duration(ns.round() as u64));
    let (base, new) = (time(&row.base), time(&row.new));
    let (shift, ratio) = (row.shift_ns, row.ratio);
    let change = shift.map_or(String::new(), |shift| signed(shift.value));
    let by = ratio.map_or(String::new(), |ratio| percent(ratio.value));
    let interval = match (row.method, ratio) {
        (Method::Subtraction, _) => "exact".to_owned(),
        (_, Some(Estimate { low: Some(low), high: Some(high), .. })) => {
            format!("{} .. {}", percent(low), percent(high))
        }
        _ => "unknown".to_owned(),
    };
    let p = row.p_adjusted.map_or("-".to_owned(), probability);
    write!(
        out,
        "{name:<17}{base:>12} {new:>12} {change:>11} {by:>8}  {interval:<23}{p:>7}  {}",
        verdict(row.verdict)
    )?;
    match (row.verdict, row.runs_needed, &row.reason) {
        (Verdict::Inconclusive, Some(runs), _) => writeln!(out, ", {runs} runs a side would tell")?,
        (_, _, Some(reason)) => writeln!(out, ", {reason}")?,
        (Verdict::Inconclusive, None, None) => writeln!(out, ", {TOO_MANY}")?,
        _ => writeln!(out)?,
    }
    for warning in &row.warnings {
        writeln!(out, "    warning: {warning}")?;
    }
    Ok(())
}

/// A span's line: where in time, how much, how sure, which.
fn span(out: &mut String, row: &Row) -> fmt::Result {
    let time = |times: &Times| times.median_ns.map_or("?".to_owned(), |ns| duration(ns.round() as u64));
    let (base, new) = (time(&row.base), time(&row.new));
    let change = row.shift_ns.map_or(String::new(), |shift| signed(shift.value));
    let by = row.ratio.map_or(String::new(), |ratio| percent(ratio.value));
    let (verdict, label) = (verdict(row.verdict), label(row));
    writeln!(out, "{:<17}{base:>12} {new:>12} {change:>11} {by:>8}  {verdict:<13} {label}", row.phase)
}

fn changes(out: &mut String, of: &Comparison) -> fmt::Result {
    if of.changes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nwhat differs beside the time")?;
    for change in of.changes.iter().take(CHANGES) {
        let kernel = change.kernel.map_or(String::new(), |kernel| format!(" {kernel:?}").to_lowercase());
        let what = format!("{:?}", change.what).to_lowercase() + &kernel;
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let hints = if change.hints.is_empty() {
            String::new()
        } else {
            format!("   <- {}?", change.hints.join(", "))
        };
        let (base, new) = (value(&change.base), value(&change.new));
        writeln!(out, "  {what:<19} {}: {base} => {new}{hints}", change.name)?;
    }
    if of.changes.len() > CHANGES {
        writeln!(out, "  and {} more, in the JSON", of.changes.len() - CHANGES)?;
    }
    Ok(())
}

fn budgets(out: &mut String, checks: &[Check]) -> fmt::Result {
    for check in checks {
        let state = match check.state {
            State::Held => "held",
            State::Exceeded => "EXCEEDED",
            State::Unknown => "UNKNOWN",
        };
        writeln!(out, "budget  {state:<9} {}", check.in_words())?;
    }
    Ok(())
}

/// Lower-case name.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regression => "regression",
        Verdict::Improvement => "improvement",
        Verdict::Equivalent => "equivalent",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Releases of a side.
pub fn releases(group: &Group) -> String {
    if group.releases.is_empty() { "no kernel".to_owned() } else { group.releases.join(", ") }
}

/// Nanoseconds with a sign.
pub fn signed(ns: f64) -> String {
    let sign = if ns < 0.0 { "-" } else { "+" };
    format!("{sign}{}", duration(ns.abs().round() as u64))
}

/// A p, to what matters of it.
pub fn probability(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}
