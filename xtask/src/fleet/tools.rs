//! Programs that only these checks need, kept in the cache: Prometheus and its friends out of Debian's packages,
//! unpacked and not installed; Python's packages in an environment of their own.

use crate::workspace::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use toolbox::apt::{self, Apt};
use toolbox::cache::Cache;
use toolbox::{needs, program};

/// Debian's packages. Its Prometheus is built without the receiver of OTLP, its VictoriaMetrics has one.
const PACKAGES: [&str; 4] = ["prometheus", "promtool", "prometheus-node-exporter", "victoria-metrics"];
/// Python's packages: two engines, another reader of Parquet, and OTLP as its authors publish it.
const PYTHON: [&str; 4] =
    ["duckdb==2.0.1", "datafusion==55.0.0", "pyarrow==26.0.1", "opentelemetry-proto==1.45.2"];

/// The folder with Prometheus and its friends.
///
/// # Errors
/// When they cannot be fetched.
pub fn programs() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let (root, programs) = (cache.path("tools/fleet"), cache.path("tools/fleet/usr/bin"));
    let _lock = cache.lock("tools")?;
    if PACKAGES.iter().all(|name| programs.join(name).is_file()) {
        return Ok(programs);
    }
    let apt = Apt::update(&cache, apt::NEWEST)?;
    let download = cache.temporary()?;
    let packages = PACKAGES.map(|name| apt.newest(name)).into_iter().collect::<Result<Vec<_>>>()?;
    apt::unpack(&apt.download(&packages, download.path())?, &root)?;
    Ok(programs)
}

/// A Python with its packages.
///
/// # Errors
/// When they cannot be fetched.
pub fn python() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let root = cache.path("tools/python");
    let (python, done) = (root.join("bin/python"), root.join(format!("done-{}", PYTHON.join("-"))));
    let _lock = cache.lock("tools")?;
    if !done.is_file() {
        needs::require("the readers of a fleet's exports", needs::PYTHON)?;
        run(program::PYTHON.command()?.args(["-m", "venv"]).arg(&root))?;
        run(program::command(&python).args(["-m", "pip", "--quiet", "install"]).args(PYTHON))?;
        fs::write(&done, "").with_context(|| format!("cannot write {}", done.display()))?;
    }
    Ok(python)
}
