//! A comparison as test cases: what JUnit and annotations have in common.

use super::super::{
    budget::{Check, State},
    judge::TOO_MANY,
    model::*,
    summary::{change, label},
};

/// One thing that can pass or fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Group it belongs to.
    pub class: &'static str,
    /// Its name.
    pub name: String,
    /// Time of the new build, seconds.
    pub seconds: f64,
    /// How it went.
    pub outcome: Outcome,
    /// In words.
    pub message: String,
}

/// How a case went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Pass,
    /// A regression, or a budget exceeded.
    Fail,
    /// Undecided.
    Skip,
}

/// The window, every phase, every budget.
pub fn of_comparison(comparison: &Comparison) -> Vec<Case> {
    let rows = comparison.window.iter().chain(&comparison.phases);
    let mut cases: Vec<Case> = rows.map(|row| of_row(comparison, row)).collect();
    if comparison.window.is_none() {
        cases.push(Case {
            class: "window",
            name: "window".to_owned(),
            seconds: 0.0,
            outcome: Outcome::Skip,
            message: comparison.summary.clone(),
        });
    }
    cases.extend(of_checks(&comparison.budgets));
    cases
}

/// Every budget.
pub fn of_checks(checks: &[Check]) -> Vec<Case> {
    let case = |check: &Check| Case {
        class: "budget",
        name: format!("{} at most {}", check.what, check.limit_text()),
        seconds: 0.0,
        outcome: match check.state {
            State::Held => Outcome::Pass,
            State::Exceeded => Outcome::Fail,
            State::Unknown => Outcome::Skip,
        },
        message: check.in_words(),
    };
    checks.iter().map(case).collect()
}

fn of_row(comparison: &Comparison, row: &Row) -> Case {
    let what = label(row);
    let (outcome, message) = match row.verdict {
        Verdict::Regression => {
            let blame = super::super::summary::blame(comparison, row);
            let blame = blame.map(|span| format!(", most of it in {}, {}", label(span), change(span)));
            (Outcome::Fail, format!("{what} is longer by {}{}", change(row), blame.unwrap_or_default()))
        }
        Verdict::Improvement => (Outcome::Pass, format!("{what} is shorter by {}", change(row))),
        Verdict::Equivalent => (Outcome::Pass, format!("{what} is as long as before")),
        Verdict::Inconclusive => {
            let why = row.reason.clone().unwrap_or_else(|| match row.runs_needed {
                Some(runs) => format!("{runs} runs a side would decide"),
                None => TOO_MANY.to_owned(),
            });
            (Outcome::Skip, format!("{what} is undecided: {why}"))
        }
    };
    let class = if row.level == Level::Window { "window" } else { "phase" };
    Case { class, name: what, seconds: row.new.median_ns.unwrap_or(0.0) / 1e9, outcome, message }
}
