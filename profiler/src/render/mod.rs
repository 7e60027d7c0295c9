//! The renderers of many reports at once, for the stores of a fleet.

pub mod openmetrics;
pub mod otlp;
#[cfg(feature = "parquet")]
pub mod parquet;
