//! Comparisons and budgets in the formats that people and CI systems read, one file each.

mod benchfmt;
mod cases;
mod github;
mod junit;
mod markdown;
mod text;
mod trend;

pub use trend::trend;

use super::{Comparison, budget::Checked};

/// What a comparison can be rendered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For a person at a terminal
    Text,
    /// For machines: blackout.compare/1, blackout.budget/1
    Json,
    /// For a pull request, a step summary, a wiki
    Markdown,
    /// For CI: a test case for the window, each phase and each budget
    Junit,
    /// GitHub's workflow commands: annotations of what failed
    Github,
    /// Go's benchmark format, one line a run: for benchstat
    Benchfmt,
}

/// Renders a comparison, with the budgets that were checked.
///
/// # Errors
/// Serde's, never for a comparison made by [`super::compare`].
pub fn comparison(of: &Comparison, format: Format) -> serde_json::Result<String> {
    Ok(match format {
        Format::Text => text::comparison(of),
        Format::Json => serde_json::to_string_pretty(of)? + "\n",
        Format::Markdown => markdown::comparison(of),
        Format::Junit => junit::render(&cases::of_comparison(of), "blackout compare"),
        Format::Github => github::render(&cases::of_comparison(of)),
        Format::Benchfmt => benchfmt::render(of),
    })
}

/// Renders a check of budgets; benchfmt has no word for them and gets nothing.
///
/// # Errors
/// Serde's, never for what [`super::budget::check`] gives.
pub fn budget(of: &Checked, format: Format) -> serde_json::Result<String> {
    Ok(match format {
        Format::Text => text::budget(of),
        Format::Json => serde_json::to_string_pretty(of)? + "\n",
        Format::Markdown => markdown::budget(of),
        Format::Junit => junit::render(&cases::of_checks(&of.checks), "blackout budget"),
        Format::Github => github::render(&cases::of_checks(&of.checks)),
        Format::Benchfmt => String::new(),
    })
}
