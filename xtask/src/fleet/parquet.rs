//! The questions of `docs/parquet.md`, asked of two engines, over a fleet whose answers are known.

use super::{Fleet, folder, tools};
use crate::workspace::{self, run};
use anyhow::Result;
use toolbox::program;

/// A million live updates.
const HOSTS: &str = "100000";
const UPDATES: &str = "10";

/// Makes the fleet up and asks.
///
/// # Errors
/// When an engine gives another answer.
pub fn check(fleet: &Fleet) -> Result<()> {
    let dir = folder("parquet")?;
    let (data, answers) = (dir.join("data"), dir.join("answers.json"));
    let mut command = fleet.command();
    command.args(["--hosts", HOSTS, "--updates", UPDATES]);
    run(command.arg("--parquet").arg(&data).arg("--answers").arg(&answers))?;
    let root = workspace::root()?;
    let mut check = program::command(tools::python()?);
    check.arg(root.join("xtask/src/fleet/parquet.py")).arg(root.join("docs/parquet.md")).arg(&data);
    run(check.arg(&answers))
}
