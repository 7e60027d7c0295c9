//! `cargo xtask exports`: reports of recordings in `fixtures/`, read by the programs they are written for.

use crate::workspace::{self, cargo, command, in_checkout, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use toolbox::needs;
use toolbox::program::{self, FLAMEGRAPH, NPM};

/// One that is whole, one that failed before its kexec.
const RECORDINGS: [&str; 2] = ["plain", "freeze-fails"];
const FORMATS: [&str; 8] = ["json", "perfetto", "chrome", "folded", "markdown", "junit", "hlog", "csv"];
/// The readers: Perfetto, HdrHistogram, a JUnit and a Markdown parser; the engine of Chrome's DevTools.
const PYTHON: [&str; 4] = ["perfetto", "hdrhistogram", "junitparser", "markdown-it-py"];
const NODE: &str = "@paulirish/trace_engine";

/// Renders and checks; the readers are installed into the target folder.
///
/// # Errors
/// When a reader cannot be had, or does not find what the report says.
pub fn check() -> Result<()> {
    needs::require("readers of exports", needs::READERS)?;
    let dir = workspace::target("exports")?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let python = dir.join("venv/bin/python");
    if !python.is_file() {
        run(in_checkout(program::PYTHON.command()?)?.args(["-m", "venv"]).arg(dir.join("venv")))?;
    }
    run(command(&python)?.args(["-m", "pip", "install", "--quiet"]).args(PYTHON))?;
    run(in_checkout(NPM.command()?)?
        .args(["install", "--no-save", "--no-audit", "--no-fund", NODE])
        .current_dir(&dir))?;
    run(cargo()?.args(["build", "--locked", "--package", "profiler"]))?;
    let scripts = workspace::root()?.join("profiler-report/tests/consumers");
    // Node looks for what it imports beside the script.
    fs::copy(scripts.join("devtools.mjs"), dir.join("devtools.mjs")).context("cannot copy devtools.mjs")?;
    for name in RECORDINGS {
        let out = dir.join(name);
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        render(name, &out)?;
        let (report, file) = (out.join("report.json"), |format: &str| out.join(format!("report.{format}")));
        run(command(&python)?.arg(scripts.join("trace.py")).args([file("perfetto"), report.clone()]))?;
        run(in_checkout(program::NODE.command()?)?
            .arg(dir.join("devtools.mjs"))
            .args([file("chrome"), report]))?;
        let formats = scripts.join("formats.py");
        run(command(&python)?.arg(formats).arg(&out).env("FLAMEGRAPH", FLAMEGRAPH.path()?))?;
    }
    Ok(())
}

/// One recording in every format; those that divide a window need one.
fn render(name: &str, out: &Path) -> Result<()> {
    let blackout = workspace::target("debug/blackout")?;
    for format in FORMATS {
        let path = out.join(format!("report.{format}"));
        let mut report = command(&blackout)?;
        report.args(["report", &format!("fixtures/{name}.blackout"), "--format", format, "-o"]).arg(&path);
        run(&mut report)?;
    }
    Ok(())
}
