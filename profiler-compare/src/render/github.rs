//! Workflow commands of GitHub Actions: errors for what failed, warnings for what is undecided.

use super::cases::{Case, Outcome};

/// One line each; nothing for what passed.
pub fn render(cases: &[Case]) -> String {
    let line = |case: &Case| {
        let command = match case.outcome {
            Outcome::Pass => return None,
            Outcome::Fail => "error",
            Outcome::Skip => "warning",
        };
        let title = property(&format!("blackout: {}", case.name));
        Some(format!("::{command} title={title}::{}\n", data(&case.message)))
    };
    cases.iter().filter_map(line).collect()
}

/// Escapes a message as GitHub's toolkit does (actions/toolkit, packages/core/src/command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same for a property, which also ends at a colon or comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
