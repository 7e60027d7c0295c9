//! Programs from the crate registry at pinned versions, kept in the cache: nothing is installed for the user.

use crate::workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use toolbox::{cache::Cache, exec, progress::Progress};

/// The program of the crate `name` at `version`, built at first use.
///
/// # Errors
/// When the registry cannot be reached or the crate does not build.
pub fn installed(cache: &Cache, name: &str, version: &str) -> Result<PathBuf> {
    let root = cache.path(format!("tools/{name}-{version}"));
    let program = root.join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    let _lock = cache.lock("tools")?;
    if program.is_file() {
        return Ok(program);
    }
    let log = cache.dir("tools")?.join(format!("{name}-{version}.log"));
    fs::write(&log, "").with_context(|| format!("cannot write {}", log.display()))?;
    let target = cache.temporary()?;
    let mut cargo = workspace::cargo()?;
    // Flags meant for the user's own builds are not meant for this one.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
    cargo.args(["install", "--locked", name, "--version", &format!("={version}")]);
    cargo.arg("--root").arg(&root).arg("--target-dir").arg(target.path());
    let mut progress = Progress::start(format!("building {name} {version} (some minutes, once)"));
    exec::logged(&mut cargo, &log, &mut progress)?;
    progress.done();
    Ok(program)
}
