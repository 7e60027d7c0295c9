//! `cargo xtask schema`: the report's JSON Schema, committed for those who read reports with other tools.

use crate::workspace;
use anyhow::{Context, Result, bail};
use lab::exec;
use std::fs;

/// Where it is committed.
const PATH: &str = "docs/schema/blackout.report.1.json";

/// Writes the schema that the profiler prints.
///
/// # Errors
/// When the profiler does not build or the file cannot be written.
pub fn write() -> Result<()> {
    let path = workspace::root()?.join(PATH);
    let schema = schema()?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(&path, schema).with_context(|| format!("cannot write {PATH}"))?;
    eprintln!("xtask: wrote {PATH}");
    Ok(())
}

/// Compares the committed schema with the one that the profiler prints.
///
/// # Errors
/// When they differ or the profiler does not build.
pub fn check() -> Result<()> {
    let committed =
        fs::read_to_string(workspace::root()?.join(PATH)).with_context(|| format!("cannot read {PATH}"))?;
    if committed != schema()? {
        bail!("{PATH} is not the profiler's schema: run `cargo xtask schema`, review and commit");
    }
    eprintln!("xtask: {PATH} is the profiler's schema");
    Ok(())
}

fn schema() -> Result<String> {
    let arguments = ["run", "--locked", "--package", "profiler", "--bin", "blackout", "--", "schema"];
    exec::output(workspace::cargo()?.args(arguments))
}
