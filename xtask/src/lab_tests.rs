//! The lab's tests: run one after the other, and what each took.

use crate::workspace::{cargo, shown};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Names the file that gets a line for each live update that a test has to repeat, with the reason.
const TRIES: &str = "BLACKOUT_TRIES";

/// One test that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabTest {
    /// Its name, with its module.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// How long it took.
    pub took: Duration,
    /// Why live updates were repeated, a reason for each.
    pub repeated: Vec<String>,
}

/// Runs the tests of the lab that `filter` selects, as arguments of a test program. They are `#[ignore]`d, because they
/// boot virtual machines, and run one at a time.
///
/// # Errors
/// When they cannot be run; [`Failed`] with all results when one failed.
pub fn run(filter: &[&str]) -> Result<Vec<LabTest>> {
    let tries = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let mut command = cargo()?;
    command.args(["test", "--locked", "--package", "lab", "--tests", "--"]);
    command.args(["--ignored", "--test-threads=1"]).args(filter);
    command.env(TRIES, tries.path()).stdout(Stdio::piped());
    let shown = shown(&command);
    eprintln!("$ {shown}");
    let mut child = command.spawn().with_context(|| format!("cannot run {shown}"))?;
    let output = child.stdout.take().context("cargo has no standard output")?;
    let tests = Reader { tries: tries.path().into(), seen: 0, running: None, ended: Vec::new() }
        .read(output, stdout())?;
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    if !status.success() {
        return Err(Failed { tests, status: format!("{shown}: {status}") }.into());
    }
    if tests.is_empty() {
        bail!("{shown}: no test was run");
    }
    Ok(tests)
}

/// Tests of the lab of which one failed.
#[derive(Debug, thiserror::Error)]
#[error("{status}")]
pub struct Failed {
    /// All that were run.
    pub tests: Vec<LabTest>,
    status: String,
}

/// Reads what a test program prints, and passes it on.
struct Reader {
    tries: PathBuf,
    /// Reasons in `tries` that belong to tests that have ended.
    seen: usize,
    running: Option<(String, Instant)>,
    ended: Vec<LabTest>,
}

impl Reader {
    fn read(mut self, output: impl Read, mut copy: impl Write) -> Result<Vec<LabTest>> {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            // The name of a test comes before it runs, without the end of its line: read what is there.
            let bytes = output.fill_buf().context("cannot read what the tests print")?;
            if bytes.is_empty() {
                return Ok(self.ended);
            }
            copy.write_all(bytes).and_then(|()| copy.flush()).context("cannot write to standard output")?;
            for &byte in bytes {
                if byte == b'\n' {
                    self.line(&String::from_utf8_lossy(&line), Instant::now());
                    line.clear();
                } else {
                    line.push(byte);
                }
            }
            let read = bytes.len();
            self.begun(&String::from_utf8_lossy(&line), Instant::now());
            output.consume(read);
        }
    }

    /// Takes the begin of a line: `test NAME ... `.
    fn begun(&mut self, line: &str, now: Instant) {
        if self.running.is_none()
            && let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        {
            self.running = Some((name.to_owned(), now));
        }
    }

    /// Takes a whole line: the end of `test NAME ... ok`. Under it a test may have printed anything.
    fn line(&mut self, line: &str, now: Instant) {
        self.begun(line, now);
        let passed = match line.rsplit(' ').next() {
            Some("ok") => true,
            Some("FAILED") => false,
            _ => return,
        };
        if line.starts_with("test result:") {
            return;
        }
        let Some((name, begun)) = self.running.take() else { return };
        let reasons = reasons(&self.tries);
        let repeated = reasons.get(self.seen..).unwrap_or_default().to_vec();
        self.seen = reasons.len();
        self.ended.push(LabTest { name, passed, took: now.duration_since(begun), repeated });
    }
}

fn reasons(tries: &Path) -> Vec<String> {
    fs::read_to_string(tries).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A line for each test: whether it passed, how long it took, and how many tries it needed.
pub fn table(tests: &[LabTest]) -> String {
    let line = |test: &LabTest| {
        let verdict = if test.passed { "ok" } else { "FAILED" };
        let tries = match test.repeated.as_slice() {
            [] => String::new(),
            reasons => format!("  {} tries: {}", reasons.len() + 1, reasons.join("; ")),
        };
        format!("    {verdict:<6} {:>8.1} s  {}{tries}\n", test.took.as_secs_f64(), test.name)
    };
    tests.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_read_with_their_tries() {
        let tries = tempfile::NamedTempFile::new().unwrap();
        fs::write(tries.path(), "the lock was free\n").unwrap();
        let reader = Reader { tries: tries.path().into(), seen: 0, running: None, ended: Vec::new() };
        let output = "\nrunning 3 tests\ntest faults::busy ... a line of its own\nok\ntest two ... ok\n\
            test three ... FAILED\n\nfailures:\n\ntest result: FAILED. 2 passed; 1 failed; 0 ignored\n";
        let tests = reader.read(output.as_bytes(), std::io::sink()).unwrap();
        let seen: Vec<_> =
            tests.iter().map(|test| (test.name.as_str(), test.passed, test.repeated.len())).collect();
        assert_eq!(seen, [("faults::busy", true, 1), ("two", true, 0), ("three", false, 0)]);
        let table = table(&tests);
        assert!(
            table.lines().next().unwrap().ends_with("faults::busy  2 tries: the lock was free"),
            "{table}"
        );
        assert!(table.lines().nth(2).unwrap().trim_start().starts_with("FAILED"), "{table}");
    }
}
