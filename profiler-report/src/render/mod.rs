//! The one `Report` in the formats of other tools, one file each. A renderer computes no figure that the
//! report does not hold, but for sums and layout; every one shows what was lost.

use crate::report::{self, Report};

mod chrome;
mod clean;
mod csv;
pub mod display;
mod folded;
pub mod hlog;
mod html;
mod junit;
mod lanes;
pub mod markdown;
mod perfetto;
pub mod text;
mod trace;
pub mod xml;

pub use clean::clean;

/// What a report can be rendered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person at a terminal
    Text,
    /// For machines: blackout.report/1
    Json,
    /// For a browser: one page with the timeline to zoom and search, and every table; needs no network
    Html,
    /// For ui.perfetto.dev and trace_processor: a protobuf trace, both kernels on one axis
    Perfetto,
    /// For trace viewers that read Chrome's JSON
    Chrome,
    /// Folded stacks, for a flame graph of the window: weights are nanoseconds and add up to it
    Folded,
    /// For a pull request or a wiki
    Markdown,
    /// For CI: a test case for each phase, failed where the live update failed
    Junit,
    /// Durations of calls, phase by phase, as a HdrHistogram interval log
    Hlog,
    /// Every figure as one table, for spreadsheets and scripts
    Csv,
}

impl Format {
    /// Whether it is bytes that no terminal should get.
    pub fn is_binary(self) -> bool {
        self == Self::Perfetto
    }
}

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format divides a window, and there is none.
    #[error("the evidence holds no window, and this format divides one; see --format text")]
    NoWindow,
    /// Serde's.
    #[error("as JSON")]
    Json(#[from] serde_json::Error),
    /// The writer's.
    #[error("as CSV")]
    Csv(#[from] ::csv::Error),
    /// A histogram of durations cannot be made or written.
    #[error("as histogram of {of}: {why}")]
    Histogram {
        /// What was counted.
        of: String,
        /// The histogram crate's words.
        why: String,
    },
}

/// Renders a report. Its strings are cleaned first ([`clean`]), but for JSON, which is the report itself.
///
/// # Errors
/// [`Error`].
pub fn render(report: &Report, format: Format) -> Result<Vec<u8>, Error> {
    if format == Format::Json {
        return Ok((report::json(report)? + "\n").into_bytes());
    }
    let report = &clean(report)?;
    Ok(match format {
        Format::Text | Format::Json => text::render(report).into_bytes(),
        Format::Html => html::render(report)?.into_bytes(),
        Format::Perfetto => perfetto::render(report),
        Format::Chrome => chrome::render(report)?,
        Format::Folded => folded::render(report)?.into_bytes(),
        Format::Markdown => markdown::render(report).into_bytes(),
        Format::Junit => junit::render(report).into_bytes(),
        Format::Hlog => hlog::render(report)?,
        Format::Csv => csv::render(report)?,
    })
}
