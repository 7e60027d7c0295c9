//! `cargo xtask test`: every check there is, in the order of how soon they fail.

use crate::workspace::{self, cargo, run};
use crate::{dashboards, ebpf, fleet, package, page, schema, tools};
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::Instant;
use toolbox::cache::Cache;
use toolbox::{exec, program};

/// Version of cargo-deny.
const CARGO_DENY: &str = "0.20.2";
/// How long each fuzz target runs, in seconds.
const FUZZ_S: u32 = 60;

/// One step: its name, and what it does.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 11] = [
    ("format", format),
    ("lints", lints),
    ("eBPF object", ebpf::check),
    ("unit and integration tests", tests),
    ("report schema", schema::check),
    ("dashboards", dashboards::check),
    ("documentation", documentation),
    ("HTML report in a browser", page::check),
    ("licences and sources of dependencies", dependencies),
    ("the package in a clean Debian root", package::check),
    ("live updates in a virtual machine", live_updates),
];
const FULL_STEPS: [Step; 3] = [
    ("a fleet's stores: Parquet, Prometheus, OTLP", fleet::check),
    ("long live updates", long_live_updates),
    ("fuzzing", fuzzing),
];

/// Runs the steps up to the first that fails, and says how each went.
///
/// # Errors
/// When a step failed.
pub fn everything(full: bool) -> Result<()> {
    let steps: Vec<Step> = STEPS.into_iter().chain(FULL_STEPS.into_iter().filter(|_| full)).collect();
    let mut summary = String::new();
    let mut failure = None;
    for (number, (name, step)) in steps.iter().enumerate() {
        if failure.is_some() {
            summary += &format!("  not run              {name}\n");
            continue;
        }
        eprintln!("\n==> [{}/{}] {name}", number + 1, steps.len());
        let started = Instant::now();
        failure = step().err().map(|error| error.context(*name));
        let (word, seconds) =
            (if failure.is_none() { "ok" } else { "FAILED" }, started.elapsed().as_secs_f64());
        eprintln!("==> [{}/{}] {name}: {word} after {seconds:.1} s", number + 1, steps.len());
        summary += &format!("  {word:<8} {seconds:>8.1} s  {name}\n");
    }
    eprint!("\n{summary}");
    failure.map_or(Ok(()), Err)
}

fn format() -> Result<()> {
    run(cargo()?.args(["fmt", "--all", "--check"]))?;
    run(cargo()?.args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn lints() -> Result<()> {
    run(cargo()?.args([
        "clippy",
        "--locked",
        "--all-targets",
        "--features",
        "profiler/parquet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests() -> Result<()> {
    run(cargo()?.args(["test", "--locked"]))
}

fn documentation() -> Result<()> {
    run(cargo()?.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--locked", "--no-deps"]))
}

fn dependencies() -> Result<()> {
    let deny = tools::installed(&Cache::open()?, "cargo-deny", CARGO_DENY)?;
    // No advisories: their database cannot be had without a network (deny.toml).
    run(workspace::command(deny)?.args(["--locked", "check", "licenses", "bans", "sources"]))
}

fn live_updates() -> Result<()> {
    lab(&["--skip", "full_"])
}

fn long_live_updates() -> Result<()> {
    lab(&["full_"])
}

/// The lab's tests are `#[ignore]`d: they boot virtual machines, one at a time.
fn lab(filter: &[&str]) -> Result<()> {
    let arguments = ["test", "--locked", "--package", "lab", "--tests", "--"];
    run(cargo()?.args(arguments).args(["--ignored", "--test-threads=1"]).args(filter))
}

fn fuzzing() -> Result<()> {
    if program::find_in_path("rustup").is_none() || program::find_in_path("cargo-fuzz").is_none() {
        eprintln!("xtask: no fuzzing: it needs rustup with a nightly toolchain, and cargo-fuzz");
        return Ok(());
    }
    let nightly = || -> Result<Command> {
        let mut command = workspace::command("rustup")?;
        command.args(["run", "nightly", "cargo", "fuzz"]).env_remove("LD_LIBRARY_PATH");
        Ok(command)
    };
    let targets = exec::output(nightly()?.arg("list")).context("a nightly toolchain is needed")?;
    if targets.trim().is_empty() {
        bail!("fuzz/Cargo.toml names no target");
    }
    for target in targets.lines() {
        run(nightly()?.args(["run", target, "--", &format!("-max_total_time={FUZZ_S}")]))?;
    }
    Ok(())
}
