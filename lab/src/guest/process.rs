//! Running one command as process 1: reap whoever ends meanwhile, keep the end of what it printed.

use crate::result::{Command as Record, OUTPUT_LIMIT};
use anyhow::{Context, Result};
use rustix::process::{WaitOptions, WaitStatus, wait};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::Stdio;
use toolbox::program;

/// Output goes to a file, not a pipe: a daemon the command leaves behind keeps it open for ever.
const OUTPUT_FILE: &str = "/run/lab-output";

/// Folder of a workload the user brought.
pub const CUSTOM_WORKLOAD: &str = "/workload";

/// Runs a command to its end. A command that cannot be started or fails is a record like any other.
pub fn run(argv: Vec<String>) -> Record {
    let mut record = Record { argv, exit_code: None, output: String::new() };
    match start_and_wait(&record.argv) {
        Ok((code, output)) => {
            record.exit_code = code;
            record.output = output;
        }
        Err(error) => record.output = format!("{error:#}"),
    }
    record
}

/// `Err` names the command, says how it ended, and quotes what it printed about it.
pub fn check(record: &Record) -> Result<(), String> {
    let name = record.argv.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
    let said = complaint(&record.output).unwrap_or("no output");
    match record.exit_code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("`{name}` ended with code {code}: {said}")),
        None => Err(format!("`{name}` could not be run: {said}")),
    }
}

/// The last line that calls itself an error, or else the last line.
fn complaint(output: &str) -> Option<&str> {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_error = |line: &&str| line.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("error"));
    lines().rfind(is_error).or_else(|| lines().next_back())
}

fn start_and_wait(argv: &[String]) -> Result<(Option<i32>, String)> {
    let (program, arguments) = argv.split_first().context("no program named")?;
    let mut output = File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(OUTPUT_FILE)
        .with_context(|| format!("cannot open {OUTPUT_FILE}"))?;
    // A daemon of an earlier command may still hold the old file: it keeps it, we start a new one.
    std::fs::remove_file(OUTPUT_FILE).with_context(|| format!("cannot unlink {OUTPUT_FILE}"))?;
    let mut command = program::command(program);
    command
        .args(arguments)
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    if std::fs::exists(CUSTOM_WORKLOAD).unwrap_or(false) {
        command.current_dir(CUSTOM_WORKLOAD);
    }
    let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let code = reap_until(child.id())?;
    Ok((code, read_end(&mut output)?))
}

/// Reaps children, adopted ones too, until `child` is among them; gives its exit code.
fn reap_until(child: u32) -> Result<Option<i32>> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if i64::from(pid.as_raw_nonzero().get()) == i64::from(child) => {
                return Ok(exit_code(status));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for a command"),
        }
    }
}

/// The shell's convention: 128 + N for signal N.
fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}

fn read_end(output: &mut File) -> Result<String> {
    let length = output.metadata()?.len();
    output.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_LIMIT as u64)))?;
    let mut bytes = Vec::new();
    output.take(OUTPUT_LIMIT as u64).read_to_end(&mut bytes)?;
    Ok(printable(&bytes, OUTPUT_LIMIT))
}

/// Text of a command's output: no control characters but newline and tab; the last `limit` bytes if it
/// is longer.
fn printable(bytes: &[u8], limit: usize) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect();
    let start = text.ceil_char_boundary(text.len().saturating_sub(limit));
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(exit_code: Option<i32>, output: &str) -> Record {
        Record { argv: vec!["blackout".into(), "arm".into(), "-v".into()], exit_code, output: output.into() }
    }

    #[test]
    fn a_failed_command_is_named_with_what_it_said() {
        assert_eq!(check(&record(Some(0), "all well")), Ok(()));
        let message = check(&record(Some(3), "probing\nno tracefs\n\n")).unwrap_err();
        assert_eq!(message, "`blackout arm` ended with code 3: no tracefs");
        let message = check(&record(Some(1), "Error: no session\nrecording written")).unwrap_err();
        assert_eq!(message, "`blackout arm` ended with code 1: Error: no session");
        let message = check(&record(None, "")).unwrap_err();
        assert_eq!(message, "`blackout arm` could not be run: no output");
    }

    #[test]
    fn the_end_of_the_output_is_kept_without_control_characters() {
        assert_eq!(printable(b"a\x1b[1mb\r\n\tc\0", 64), "a[1mb\n\tc");
        assert_eq!(printable("first, then the end: \u{e9}".as_bytes(), 6), "nd: \u{e9}");
    }

    proptest! {
        #[test]
        fn any_bytes_become_bounded_text(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), limit in 0usize..64
        ) {
            let text = printable(&bytes, limit);
            prop_assert!(text.len() <= limit);
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
