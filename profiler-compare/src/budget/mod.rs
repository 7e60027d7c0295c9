//! Budgets: limits that a build must keep, from one run on.
//!
//! An absolute limit holds the median of the runs' times, and the largest of their counts. A relative one
//! (`max_increase`) holds the interval of the ratio to a baseline: it is exceeded only if the whole interval
//! lies above it.

mod check;
mod units;

use std::collections::BTreeMap;

use profiler_report::{catalogue::CATALOGUE, duration, report::Tool, timeline::UNOBSERVED};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use check::check;
pub use units::{Increase, Nanoseconds};

/// A budget file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The whole window.
    pub window: Limits,
    /// Phases by their id.
    pub phase: BTreeMap<String, Limits>,
    /// Named spans.
    pub span: Vec<SpanLimits>,
    /// Counts.
    pub count: Counts,
}

/// Limits of a window or phase.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest time.
    pub max: Option<Nanoseconds>,
    /// Largest increase over the baseline.
    pub max_increase: Option<Increase>,
}

/// Limits of a span.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanLimits {
    /// Its name.
    pub name: String,
    /// Its subject; any if not given.
    pub subject: Option<String>,
    /// Phase it begins in; any if not given.
    pub phase: Option<String>,
    /// Longest single call, with what is inside it.
    pub max: Option<Nanoseconds>,
    /// Largest increase of its own time, all calls together.
    pub max_increase: Option<Increase>,
    /// Most calls.
    pub max_calls: Option<u64>,
}

/// Limits of counts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counts {
    /// Most failures.
    pub failures: Option<u64>,
    /// Most events lost.
    pub lost: Option<u64>,
}

/// One limit and whether it was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What is limited: "window", "phase restore", "span file-retrieve [token 1]".
    pub what: String,
    /// The limit.
    pub limit: f64,
    /// What was seen; `null` if nothing was.
    pub actual: Option<f64>,
    /// Unit of both.
    pub unit: Unit,
    /// Whether it was kept.
    pub state: State,
    /// Why it is not known, or what the figure rests on.
    pub reason: Option<String>,
}

/// Units of a [`Check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// New by base.
    Ratio,
    /// A number of things.
    Count,
}

/// Whether a limit was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Kept.
    Held,
    /// Not kept.
    Exceeded,
    /// The runs do not tell.
    Unknown,
}

/// Value of [`Checked::schema`].
pub const SCHEMA: &str = "blackout.budget/1";

/// The result of `blackout budget`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// `blackout.budget/1`.
    pub schema: String,
    /// What made it.
    pub tool: Tool,
    /// Files of the runs that were checked.
    pub runs: Vec<String>,
    /// Every limit.
    pub checks: Vec<Check>,
}

impl Check {
    /// The limit with its unit.
    pub fn limit_text(&self) -> String {
        self.unit.show(self.limit)
    }

    /// What was seen and what is allowed, and why it is not known.
    pub fn in_words(&self) -> String {
        let actual = self.actual.map_or("unknown".to_owned(), |actual| self.unit.show(actual));
        let reason = self.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        format!("{}: {actual}, at most {}{reason}", self.what, self.limit_text())
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Ns => duration(value.round() as u64),
            Self::Ratio => format!("{:+.2} %", (value - 1.0) * 100.0),
            Self::Count => format!("{value}"),
        }
    }
}

/// A budget file that is none.
#[derive(Debug, Error)]
pub enum BudgetError {
    /// Not TOML of this shape.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// A phase that no report has.
    #[error("[phase.{0}]: there is no such phase; `blackout report` shows their ids in JSON, one is {example}",
            example = CATALOGUE.phases.first().map_or("", |phase| phase.id.as_str()))]
    Phase(String),
    /// A span without a name.
    #[error("a [[span]] needs a name")]
    Nameless,
    /// Nothing is limited.
    #[error("it limits nothing")]
    Empty,
}

impl Budget {
    /// Parses a budget file.
    ///
    /// # Errors
    /// If it is not TOML of this shape, names a phase that does not exist, or limits nothing: a budget that
    /// cannot fail is a mistake.
    pub fn parse(text: &str) -> Result<Self, BudgetError> {
        let budget: Self = toml::from_str(text)?;
        let phases = budget.phase.keys().chain(budget.span.iter().filter_map(|span| span.phase.as_ref()));
        for id in phases {
            if id != UNOBSERVED && !CATALOGUE.phases.iter().any(|phase| phase.id == *id) {
                return Err(BudgetError::Phase(id.clone()));
            }
        }
        if budget.span.iter().any(|span| span.name.is_empty()) {
            return Err(BudgetError::Nameless);
        }
        let limited = |max: bool, increase: bool| max || increase;
        let of = |limits: &Limits| limited(limits.max.is_some(), limits.max_increase.is_some());
        let span = |span: &SpanLimits| {
            limited(span.max.is_some() || span.max_calls.is_some(), span.max_increase.is_some())
        };
        let any = of(&budget.window)
            || budget.phase.values().any(of)
            || budget.span.iter().any(span)
            || budget.count != Counts::default();
        if any { Ok(budget) } else { Err(BudgetError::Empty) }
    }

    /// Whether a limit needs a baseline.
    pub fn is_relative(&self) -> bool {
        self.window.max_increase.is_some()
            || self.phase.values().any(|limits| limits.max_increase.is_some())
            || self.span.iter().any(|span| span.max_increase.is_some())
    }
}

/// JSON Schema of [`Checked`], generated from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Checked).to_value()
}
