//! Everything a frame is drawn of.

use std::time::Duration;

use profiler_report::report::Report;

use super::theme::Theme;
use crate::state::State;

/// How the news comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// From an agent that answers.
    Live,
    /// From an agent that cannot be reached: why.
    Apart(String),
    /// From a file.
    Replay {
        /// Where it stands.
        position: Duration,
        /// How long it is.
        length: Duration,
        /// Replayed time a second.
        speed: f64,
        /// Whether it runs.
        playing: bool,
    },
}

/// A frame's content.
#[derive(Debug, Clone, Copy)]
pub struct Screen<'a> {
    /// What is known.
    pub state: &'a State,
    /// The picture of it: the report, or what it will be.
    pub report: Option<&'a Report>,
    /// An earlier report, to expect things by.
    pub baseline: Option<&'a Report>,
    /// Where that is from.
    pub baseline_name: &'a str,
    /// How the news comes.
    pub link: &'a Link,
    /// Now, on the clock of the state's messages.
    pub now: Duration,
    /// How things look.
    pub theme: Theme,
}

/// Where a live update should be `elapsed_ns` into its window, by an earlier one: the phase, its number, and
/// the time that is left of the whole; `None` if it should be over.
pub fn expected(baseline: &Report, elapsed_ns: u64) -> Option<(usize, &str, u64)> {
    let window = baseline.window.as_ref()?;
    let at = i64::try_from(elapsed_ns).ok()?;
    let index = baseline.phases.iter().rposition(|phase| phase.start_ns <= at)?;
    let left = window.duration_ns.checked_sub(elapsed_ns)?;
    Some((index, baseline.phases.get(index)?.title.as_str(), left))
}
