//! `blackout push`, against receivers that are not ours: VictoriaMetrics for metrics, and for traces one that decodes
//! with the official protos.

use super::{
    Fleet, folder,
    server::{Api, Server, free_port},
    tools,
};
use crate::workspace::{self, run};
use anyhow::Result;
use toolbox::program;

/// Pushes, kills, pushes again, and compares with the report.
///
/// # Errors
/// When something is not as the report has it, or not there once.
pub fn check(fleet: &Fleet) -> Result<()> {
    let (root, dir) = (workspace::root()?, folder("otlp")?);
    let (port, log) = (free_port()?, dir.join("victoria-metrics.log"));
    let mut victoria = program::command(tools::programs()?.join("victoria-metrics"));
    victoria.arg(format!("-storageDataPath={}", dir.join("data").display()));
    victoria.arg(format!("-httpListenAddr=127.0.0.1:{port}")).arg("-opentelemetry.usePrometheusNaming");
    let _server = Server::start(&mut victoria, &log)?;
    let api = Api::wait(port, &log)?;
    let mut check = program::command(tools::python()?);
    check
        .arg(root.join("profiler-fleet/tests/otlp/check.py"))
        .arg(fleet.blackout())
        .arg(root.join("fixtures"));
    run(check.arg(dir.join("state")).arg(&api.base))
}
