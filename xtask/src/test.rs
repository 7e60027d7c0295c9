//! `cargo xtask test`: every check there is, in the order of how soon they fail.

use crate::lab_tests::{self, LabTest};
use crate::workspace::{self, cargo, run};
use crate::{dashboards, dependencies, docs, ebpf, fleet, fresh, package, page, schema, tools};
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::{Duration, Instant};
use toolbox::cache::Cache;
use toolbox::debian_root::Root;
use toolbox::needs::{self, Need};
use toolbox::{exec, program};

/// Version of cargo-deny.
const CARGO_DENY: &str = "0.20.2";
/// How long each fuzz target runs, in seconds.
const FUZZ_S: u32 = 60;

/// One step of the tests.
struct Step {
    name: &'static str,
    /// What it needs of the system.
    needs: &'static [&'static [Need]],
    /// Whether only root can try it.
    root: bool,
    run: fn() -> Result<Vec<LabTest>>,
}

impl Step {
    const fn new(name: &'static str, run: fn() -> Result<Vec<LabTest>>) -> Self {
        Self { name, needs: &[], root: false, run }
    }

    const fn with(self, needs: &'static [&'static [Need]]) -> Self {
        Self { needs, ..self }
    }

    const fn needs_root(self) -> Self {
        Self { root: true, ..self }
    }

    fn is_tried(&self) -> bool {
        !self.root || Root::permitted()
    }
}

const STEPS: [Step; 15] = [
    Step::new("format", || none(format())),
    Step::new("lints", || none(lints())),
    Step::new("dependencies of the libraries", || none(dependencies::check())),
    Step::new("eBPF object", || none(ebpf::check())),
    Step::new("unit and integration tests", || none(tests())),
    Step::new("report schema", || none(schema::check())),
    Step::new("dashboards", || none(dashboards::check())),
    Step::new("reference", || none(docs::reference::check())),
    Step::new("book", || none(docs::check())),
    Step::new("documentation", || none(documentation())),
    Step::new("HTML report in a browser", || none(page::check())).with(&[needs::BROWSER]),
    Step::new("licences and sources of dependencies", || none(licences())),
    Step::new("needs of all steps, in a fresh Debian root", || none(fresh::needs_resolve()))
        .with(&[needs::FRESH])
        .needs_root(),
    Step::new("the package in a clean Debian root", || none(package::check()))
        .with(&[needs::PACKAGE, needs::STATIC, needs::DEBIAN_ROOT])
        .needs_root(),
    Step::new("live updates in a virtual machine", || lab_tests::run(&["--skip", "full_"])).with(LAB),
];
const FULL_STEPS: [Step; 4] = [
    Step::new("a fleet's stores: Parquet, Prometheus, OTLP", || none(fleet::check())).with(&[needs::PYTHON]),
    Step::new("long live updates", || lab_tests::run(&["full_"])).with(&[
        needs::SHELL,
        needs::SELFTEST,
        needs::BPFTRACE,
    ]),
    Step::new("the README's commands on a fresh machine", || none(fresh::readme(&fresh::Options::default())))
        .with(&[needs::FRESH])
        .needs_root(),
    Step::new("fuzzing", || none(fuzzing())),
];
/// What the lab's tests need, all of them together.
const LAB: &[&[Need]] = &[needs::STATIC, needs::UNPACK, needs::KERNEL, needs::TERMINAL];

/// What the steps need that this user can try.
pub fn needs_of_steps(full: bool) -> Vec<Need> {
    steps(full).iter().filter(|step| step.is_tried()).flat_map(|step| step.needs.concat()).collect()
}

fn steps(full: bool) -> Vec<Step> {
    STEPS.into_iter().chain(FULL_STEPS.into_iter().filter(|_| full)).collect()
}

/// Runs the steps up to the first that fails, and says how each went.
///
/// # Errors
/// When a package is missing or a step failed.
pub fn everything(full: bool) -> Result<()> {
    needs::declare("cargo xtask test", &[&needs_of_steps(full)])?;
    let steps = steps(full);
    let mut summary = String::new();
    let mut failure = None;
    for (number, step) in steps.iter().enumerate() {
        let name = step.name;
        if failure.is_some() || !step.is_tried() {
            let why = if failure.is_some() { "not run" } else { "not tried: needs root" };
            summary += &format!("  {why:<22} {name}\n");
            continue;
        }
        eprintln!("\n==> [{}/{}] {name}", number + 1, steps.len());
        let started = Instant::now();
        let ended = (step.run)();
        let took = started.elapsed();
        let verdict = if ended.is_ok() { "ok" } else { "FAILED" };
        eprintln!("==> [{}/{}] {name}: {verdict} after {:.1} s", number + 1, steps.len(), took.as_secs_f64());
        summary += &line(verdict, took, name);
        match ended {
            Ok(tests) => summary += &lab_tests::table(&tests),
            Err(error) => {
                if let Some(failed) = error.downcast_ref::<lab_tests::Failed>() {
                    summary += &lab_tests::table(&failed.tests);
                }
                failure = Some(error.context(name));
            }
        }
    }
    eprint!("\n{summary}");
    failure.map_or(Ok(()), Err)
}

fn line(verdict: &str, took: Duration, name: &str) -> String {
    format!("  {verdict:<8} {:>8.1} s   {name}\n", took.as_secs_f64())
}

/// A step without tests of the lab.
fn none(ended: Result<()>) -> Result<Vec<LabTest>> {
    ended.map(|()| Vec::new())
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
        "profiler/parquet,profiler-fleet/parquet",
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

fn licences() -> Result<()> {
    let deny = tools::installed(&Cache::open()?, "cargo-deny", CARGO_DENY)?;
    // No advisories: their database cannot be had without a network (deny.toml).
    run(workspace::command(deny)?.args(["--locked", "check", "licenses", "bans", "sources"]))
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
