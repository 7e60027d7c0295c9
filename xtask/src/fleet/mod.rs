//! `cargo xtask fleet`: a fleet that is made up, and what a fleet's stores make of it: Parquet in two engines, a real
//! Prometheus with node_exporters, receivers of OTLP.

mod otlp;
mod parquet;
mod prometheus;
mod queries;
mod scale;
mod server;
mod tools;

use crate::workspace::{self, cargo, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use toolbox::program;

/// What to make up, and what to do with it.
#[derive(clap::Args)]
pub struct Options {
    /// Hosts
    #[arg(long, default_value_t = 1_000)]
    hosts: u32,
    /// Live updates of each
    #[arg(long, default_value_t = 10)]
    updates: u32,
    /// Ask the questions of docs/parquet.md, every query of dashboards and rules, and push to a collector; with a
    /// fleet of a million live updates
    #[arg(long, conflicts_with_all = ["hosts", "updates", "scale"])]
    check: bool,
    /// Let a Prometheus scrape as many hosts, and say what that costs
    #[arg(long)]
    scale: bool,
}

/// Makes a fleet up in `target/fleet`, or does what the options say.
///
/// # Errors
/// When something is missing, or an answer is wrong.
pub fn run_with(options: &Options) -> Result<()> {
    if options.check {
        return check();
    }
    if options.scale {
        return scale::measure(options.hosts);
    }
    let dir = folder("made-up")?;
    let mut command = Fleet::build()?.command();
    command.args(["--hosts", &options.hosts.to_string(), "--updates", &options.updates.to_string()]);
    command.arg("--parquet").arg(dir.join("parquet")).arg("--textfiles").arg(dir.join("textfiles"));
    run(command.arg("--answers").arg(dir.join("answers.json")))?;
    eprintln!("xtask: it is in {}", dir.display());
    Ok(())
}

/// Everything that a fleet's stores must show.
///
/// # Errors
/// When an answer is wrong.
pub fn check() -> Result<()> {
    let fleet = Fleet::build()?;
    parquet::check(&fleet)?;
    prometheus::check(&fleet)?;
    otlp::check(&fleet)
}

/// The programs of this checkout, with all features.
struct Fleet {
    target: PathBuf,
}

impl Fleet {
    fn build() -> Result<Self> {
        let target = workspace::target("fleet-build")?;
        let mut command = cargo()?;
        command.args([
            "build",
            "--locked",
            "--release",
            "--package",
            "profiler",
            "--package",
            "profiler-fleet",
        ]);
        command.args(["--features", "profiler/parquet,profiler-fleet/parquet"]);
        run(command.args(["--bin", "blackout", "--example", "fleet"]).arg("--target-dir").arg(&target))?;
        Ok(Self { target })
    }

    /// What makes a fleet up.
    fn command(&self) -> Command {
        program::command(self.target.join("release/examples/fleet"))
    }

    /// `blackout`.
    fn blackout(&self) -> PathBuf {
        self.target.join("release/blackout")
    }
}

/// An empty folder for what a step makes.
fn folder(name: &str) -> Result<PathBuf> {
    let dir = workspace::target("fleet")?.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
