//! Reports for the stores of a fleet.
//!
//! Each renderer takes many reports, and none computes a figure that the reports do not hold:
//!
//! ```text
//! openmetrics  a host's last live update, for node_exporter's textfile collector
//! otlp         a live update as a trace, a host's live updates as metrics: requests for OpenTelemetry collectors
//! parquet      every phase and span as a row (cargo feature `parquet`)
//! push         reports -> a collector, each exactly once (the state folder, HTTP)
//! ```
pub mod openmetrics;
pub mod otlp;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod push;
