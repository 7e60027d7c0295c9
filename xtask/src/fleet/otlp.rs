//! `blackout push`, against Prometheus for metrics and a receiver with the official protos for traces.

use super::{Fleet, folder, prometheus::Running, tools};
use crate::workspace::{self, run};
use anyhow::Result;
use std::process::Command;

/// Pushes, kills, pushes again, and compares with the report.
///
/// # Errors
/// When something is not as the report has it, or not there once.
pub fn check(fleet: &Fleet, prometheus: &Running) -> Result<()> {
    let root = workspace::root()?;
    let mut check = Command::new(tools::python()?);
    check.arg(root.join("profiler/tests/otlp/check.py")).arg(fleet.blackout()).arg(root.join("fixtures"));
    run(check.arg(folder("otlp")?).arg(&prometheus.api.base))
}
