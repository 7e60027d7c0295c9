//! `cargo xtask page` and `pictures`: the HTML report in a real browser.

use crate::workspace::{self, cargo, run};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;
use toolbox::needs::{self, BROWSER};

/// The picture in the README, where the tests write it and where it is committed.
const PICTURE: &str = "report.webp";

/// Drives the page: `profiler-report/tests/browser`.
///
/// # Errors
/// When there is no browser or a test failed.
pub fn check() -> Result<()> {
    run(tests()?.args(["--nocapture", "--skip", "pictures"]))
}

/// Takes pictures of the page in all its forms, and puts the README's into `docs`.
///
/// # Errors
/// When there is no browser or a file cannot be written.
pub fn pictures() -> Result<()> {
    let dir = workspace::target("pictures")?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    run(tests()?.arg("pictures").env("BLACKOUT_PICTURES", &dir))?;
    let docs = workspace::root()?.join("docs").join(PICTURE);
    fs::copy(dir.join(PICTURE), &docs).with_context(|| format!("cannot write {}", docs.display()))?;
    eprintln!("xtask: wrote docs/{PICTURE}; others are in {}", dir.display());
    Ok(())
}

/// The browser's tests, `#[ignore]`d for those who have no browser; one at a time, each has its own.
fn tests() -> Result<Command> {
    needs::require("the HTML report in a browser", BROWSER)?;
    let mut command = cargo()?;
    command.args(["test", "--locked", "--package", "profiler-report", "--test", "browser", "--"]);
    command.args(["--ignored", "--test-threads=1"]);
    Ok(command)
}
