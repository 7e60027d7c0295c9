//! The answer in one sentence.

use profiler_report::duration;

use super::{judge::TOO_MANY, model::*};

/// From "slower" to "where".
pub fn of(comparison: &Comparison) -> String {
    let Some(window) = &comparison.window else { return "no run has a blackout window".to_owned() };
    let rows = |verdict| comparison.phases.iter().filter(move |row| row.verdict == verdict);
    let mut text = match window.verdict {
        Verdict::Regression => format!("the blackout is longer by {}", change(window)),
        Verdict::Improvement => format!("the blackout is shorter by {}", change(window)),
        Verdict::Equivalent => "the blackout is as long as before".to_owned(),
        Verdict::Inconclusive => {
            let why = window.reason.clone().unwrap_or_else(|| match window.runs_needed {
                Some(runs) => format!("{runs} runs a side would decide"),
                None => TOO_MANY.to_owned(),
            });
            format!("whether the blackout is longer is undecided ({why})")
        }
    };
    for (verdict, word) in [(Verdict::Regression, "longer"), (Verdict::Improvement, "shorter")] {
        let mut rows: Vec<&Row> = rows(verdict).collect();
        rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
        let named = rows.iter().take(3).map(|row| format!("{} by {}", row.phase, change(row)));
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            let more = rows.len().saturating_sub(named.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text += &format!("; {word}: {}{more}", named.join(", "));
        }
        if let Some(span) = rows.first().and_then(|row| blame(comparison, row)) {
            text += &format!(" (most of it in {}, {})", label(span), change(span));
        }
    }
    // One function may tell where its phase is too noisy to, or where a timer tick more or less outweighs it.
    let regressed = |id: &str| rows(Verdict::Regression).any(|row| row.phase == id);
    let apart = |span: &&Row| span.verdict == Verdict::Regression && !regressed(&span.phase);
    let apart = comparison.spans.iter().filter(apart).take(3);
    let apart: Vec<String> = apart.map(|span| format!("{} by {}", label(span), change(span))).collect();
    if !apart.is_empty() {
        text += &format!("; but longer in itself: {}", apart.join(", "));
    }
    text
}

/// The span that changed most in a phase, the same way as the phase.
pub fn blame<'a>(comparison: &'a Comparison, phase: &Row) -> Option<&'a Row> {
    let same_way = |row: &&Row| row.phase == phase.phase && row.verdict == phase.verdict;
    comparison.spans.iter().filter(same_way).max_by(|a, b| size(a).total_cmp(&size(b)))
}

/// Name and subject.
pub fn label(row: &Row) -> String {
    match (row.level, row.subject.as_str()) {
        (Level::Window, _) => "window".to_owned(),
        (Level::Vm, _) => format!("guest {}", row.name),
        (Level::Phase, _) => row.phase.clone(),
        (_, "") => row.name.clone(),
        (_, subject) => format!("{} [{subject}]", row.name),
    }
}

/// "+5.0 % (6.1 ms)", of the estimate.
pub fn change(row: &Row) -> String {
    let shift = row.shift_ns.map_or("?".to_owned(), |shift| duration(shift.value.abs().round() as u64));
    match row.ratio {
        Some(ratio) => format!("{shift} ({})", percent(ratio.value)),
        None => shift,
    }
}

/// A ratio as a signed percentage.
pub fn percent(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    if percent.abs() < 0.095 { format!("{percent:+.3} %") } else { format!("{percent:+.1} %") }
}

fn size(row: &Row) -> f64 {
    row.shift_ns.map_or(0.0, |shift| shift.value.abs())
}
