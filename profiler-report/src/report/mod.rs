//! The one `Report` value.

mod advice;
mod assemble;
mod axis;
mod choice;
mod coverage;
mod failures;
mod guests;
mod hot;
mod lacks;
mod model;
pub mod provisional;
mod realtime;
mod spans;
mod time;

pub use assemble::{ReportError, build, build_for, tool};
pub use choice::{Choice, ChoiceError, WindowChoice};
pub use model::*;
pub use time::rfc3339;

/// JSON Schema of [`Report`], generated from the types.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// The report as JSON, for machines.
///
/// # Errors
/// Serde's, never for a report made by [`build`].
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report)
}
