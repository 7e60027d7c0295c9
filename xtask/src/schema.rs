//! `cargo xtask schema`: the JSON Schemas of what `blackout` prints, committed for those who read it with
//! other tools.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use toolbox::exec;

/// Names that `blackout schema` knows, each committed as `docs/schema/blackout.NAME.1.json`.
const NAMES: [&str; 6] = ["report", "compare", "budget", "trend", "stream", "check"];

/// Writes the schemas that the profiler prints.
///
/// # Errors
/// When the profiler does not build or a file cannot be written.
pub fn write() -> Result<()> {
    for name in NAMES {
        let relative = path(name);
        let path = workspace::root()?.join(&relative);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(&path, schema(name)?).with_context(|| format!("cannot write {relative}"))?;
        eprintln!("xtask: wrote {relative}");
    }
    Ok(())
}

/// Compares the committed schemas with those that the profiler prints.
///
/// # Errors
/// When one differs or the profiler does not build.
pub fn check() -> Result<()> {
    for name in NAMES {
        let relative = path(name);
        let committed = fs::read_to_string(workspace::root()?.join(&relative))
            .with_context(|| format!("cannot read {relative}"))?;
        if committed != schema(name)? {
            bail!("{relative} is not the profiler's schema: run `cargo xtask schema`, review and commit");
        }
        eprintln!("xtask: {relative} is the profiler's schema");
    }
    Ok(())
}

fn path(name: &str) -> String {
    format!("docs/schema/blackout.{name}.1.json")
}

fn schema(name: &str) -> Result<String> {
    let arguments = ["run", "--locked", "--package", "profiler", "--bin", "blackout", "--", "schema", name];
    exec::output(workspace::cargo()?.args(arguments))
}
