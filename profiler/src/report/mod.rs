//! The one `Report` value and its renderers.

mod assemble;
mod axis;
mod coverage;
mod failures;
mod model;
pub mod provisional;
mod spans;
pub mod text;
mod time;

pub use assemble::{build, tool};
pub use model::*;

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
