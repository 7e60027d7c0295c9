//! What could be shorter, and by how much: rules that are data, over detectors that are code.
//!
//! A rule without evidence in this run says nothing. Savings are estimates out of this run's own times;
//! they overlap, so they do not add up.

mod console;
mod detect;

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Advice, Report};
use detect::Detector;

/// The rules that this build carries.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    // `tests` parse the same text: a build without rules does not pass.
    parse(include_str!("rules.toml")).unwrap_or_default()
});

/// A line of the incoming kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, on the report's axis; `None` before the log's clock ran.
    pub at_ns: Option<i64>,
    /// Its level, 0 to 7.
    pub level: u8,
    /// The line.
    pub text: String,
}

/// What rules look at.
#[derive(Debug)]
pub struct Case<'a> {
    /// The report, but for its advice.
    pub report: &'a Report,
    /// The incoming kernel's log.
    pub log: &'a [Line],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    id: String,
    text: String,
    how: String,
    least_ns: u64,
    when: Detector,
}

/// What a detector found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Id of the phase that would be shorter.
    phase: String,
    saving_ns: u64,
    /// Words for a rule's texts.
    facts: Vec<(&'static str, String)>,
}

/// Advice on one live update, the largest saving first.
pub fn advise(case: &Case) -> Vec<Advice> {
    let mut advice: Vec<Advice> = RULES.iter().flat_map(|rule| rule.apply(case)).collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.saving_ns));
    advice
}

impl Rule {
    fn apply(&self, case: &Case) -> Vec<Advice> {
        let found = self.when.findings(case).into_iter().filter(|found| found.saving_ns >= self.least_ns);
        let advice = |found: Finding| Advice {
            rule: self.id.clone(),
            text: fill(&self.text, &found.facts),
            how: fill(&self.how, &found.facts),
            phase: found.phase,
            saving_ns: found.saving_ns,
        };
        found.map(advice).collect()
    }
}

/// Puts facts where their names stand in braces.
fn fill(text: &str, facts: &[(&'static str, String)]) -> String {
    // In one pass: a fact may hold braces of its own.
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}').unwrap_or((braced, ""));
        filled += before;
        filled += facts.iter().find(|(known, _)| *known == name).map_or("?", |(_, fact)| fact);
        rest = after;
    }
    filled + rest
}

fn parse(rules: &str) -> Result<Vec<Rule>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rules {
        rule: Vec<Rule>,
    }
    toml::from_str(rules).map(|rules: Rules| rules.rule)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
