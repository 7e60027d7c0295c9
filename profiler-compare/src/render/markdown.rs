//! The comparison for a pull request or a step summary: GitHub's Markdown.

use std::fmt::{self, Write};

use profiler_report::{duration, render::markdown::escape};

use super::{
    super::{
        budget::{Check, Checked, State},
        model::*,
        summary::{label, percent},
    },
    text::{probability, releases, signed, verdict},
};

/// Spans and changes that are listed.
const SPANS: usize = 15;
const CHANGES: usize = 30;

/// Renders the whole comparison.
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
    let mark = match of.verdict {
        Verdict::Regression => "&#10060;",
        Verdict::Improvement | Verdict::Equivalent => "&#9989;",
        Verdict::Inconclusive => "&#10067;",
    };
    writeln!(out, "## {mark} Blackout: {}\n\n{}.\n", verdict(of.verdict), escape(&of.summary))?;
    let side = |group: &Group| format!("{} runs of {}", group.runs.len(), escape(&releases(group)));
    writeln!(out, "Base: {}. New: {}.\n", side(&of.base), side(&of.new))?;
    head(out, "Phase")?;
    for row in of.window.iter().chain(&of.vms).chain(&of.phases) {
        self::row(out, row, &escape(&label(row)))?;
    }
    if !of.spans.is_empty() || !of.hot.is_empty() {
        writeln!(out, "\n<details><summary>Spans by their own time, the largest changes</summary>\n")?;
        head(out, "Span")?;
        for row in of.spans.iter().chain(&of.hot).take(SPANS) {
            self::row(out, row, &format!("{}: {}", escape(&row.phase), escape(&label(row))))?;
        }
        writeln!(out, "\n</details>")?;
    }
    changes(out, of)?;
    if !of.budgets.is_empty() {
        writeln!(out)?;
        budgets(out, &of.budgets)?;
    }
    let of_rows = of.window.iter().chain(&of.phases).flat_map(|row| {
        let name = label(row);
        row.warnings.iter().map(move |warning| format!("{name}: {warning}"))
    });
    let warnings: Vec<String> = of.warnings.iter().cloned().chain(of_rows).collect();
    if !warnings.is_empty() {
        writeln!(out, "\n> [!WARNING]")?;
    }
    for warning in warnings {
        writeln!(out, "> - {}", escape(&warning))?;
    }
    let Limits { alpha, min_effect, floor_ns } = of.limits;
    let (percent, floor) = (min_effect * 100.0, duration(floor_ns));
    writeln!(out, "\nLimits: alpha {alpha}, at least {percent} % and {floor}.")
}

fn head(out: &mut String, what: &str) -> fmt::Result {
    writeln!(out, "| {what} | Base | New | Change | Interval | p | Verdict |\n|---|--:|--:|--:|---|--:|---|")
}

fn row(out: &mut String, row: &Row, name: &str) -> fmt::Result {
    let time = |times: &Times| times.median_ns.map_or("?".to_owned(), |ns| duration(ns.round() as u64));
    let by = row.ratio.map_or(String::new(), |ratio| format!(" ({})", percent(ratio.value)));
    let change = row.shift_ns.map_or("?".to_owned(), |shift| signed(shift.value) + &by);
    let interval = match (row.method, row.ratio) {
        (Method::Subtraction, _) => "exact".to_owned(),
        (_, Some(Estimate { low: Some(low), high: Some(high), .. })) => {
            format!("{} to {}", percent(low), percent(high))
        }
        _ => "unknown".to_owned(),
    };
    let p = row.p_adjusted.map_or(String::new(), |p| probability(p).replace('<', "&lt;"));
    let mut words = match row.verdict {
        Verdict::Regression => "**regression**".to_owned(),
        verdict => self::verdict(verdict).to_owned(),
    };
    if let Some(reason) = &row.reason {
        words += &format!(": {}", escape(reason));
    } else if let Some(runs) = row.runs_needed {
        words += &format!(": {runs} runs a side would tell");
    }
    let (base, new) = (time(&row.base), time(&row.new));
    writeln!(out, "| {name} | {base} | {new} | {change} | {interval} | {p} | {words} |")
}

fn changes(out: &mut String, of: &Comparison) -> fmt::Result {
    if of.changes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### What differs beside the time\n")?;
    writeln!(out, "| What | Name | Base | New | Perhaps why |\n|---|---|---|---|---|")?;
    for change in of.changes.iter().take(CHANGES) {
        let kernel = change.kernel.map_or(String::new(), |kernel| format!(" ({kernel:?})").to_lowercase());
        let what = format!("{:?}", change.what).to_lowercase();
        let value = |value: &Option<String>| escape(value.as_deref().unwrap_or(""));
        let (base, new) = (value(&change.base), value(&change.new));
        let (name, hints) = (escape(&change.name), escape(&change.hints.join(", ")));
        writeln!(out, "| {what}{kernel} | {name} | {base} | {new} | {hints} |")?;
    }
    if of.changes.len() > CHANGES {
        writeln!(out, "\nAnd {} more.", of.changes.len() - CHANGES)?;
    }
    Ok(())
}

fn budgets(out: &mut String, checks: &[Check]) -> fmt::Result {
    writeln!(out, "| Budget | State |\n|---|---|")?;
    for check in checks {
        let state = match check.state {
            State::Held => "held",
            State::Exceeded => "**exceeded**",
            State::Unknown => "unknown",
        };
        writeln!(out, "| {} | {state} |", escape(&check.in_words()))?;
    }
    Ok(())
}
