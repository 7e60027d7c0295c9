//! Running the programs the lab needs.

use crate::progress::{Progress, scrub};
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write, pipe};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Lines of output quoted when a command fails.
const QUOTED: usize = 20;

/// Runs `command` to its end; its output goes to `log` and its latest line to `progress`.
///
/// # Errors
/// When it cannot be started or fails; the message quotes its last lines and names `log`.
pub fn logged(command: &mut Command, log: &Path, progress: &mut Progress) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let file = File::options().create(true).append(true).open(log);
    let mut file = file.with_context(|| format!("cannot write {}", log.display()))?;
    let (reader, writer) = pipe().context("cannot create a pipe")?;
    let second = writer.try_clone().context("cannot duplicate a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second);
    end_with_us(command, libc::SIGTERM);
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    // The command holds the pipe's writing ends; without them the reader below would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut last = VecDeque::with_capacity(QUOTED);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {name}"))?;
        file.write_all(&line)
            .and_then(|()| file.write_all(b"\n"))
            .with_context(|| format!("cannot write {}: is the disk full?", log.display()))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        progress.detail(&line);
        if last.len() == QUOTED {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    if !status.success() {
        let quoted: Vec<String> = last.iter().map(|line| format!("  {}", scrub(line))).collect();
        bail!(
            "{name} failed ({status}); its last output, all of it in {}:\n{}",
            log.display(),
            quoted.join("\n")
        );
    }
    Ok(())
}

/// Lets `command` get `signal` when we end before it does, however we end.
pub fn end_with_us(command: &mut Command, signal: libc::c_int) {
    let parent = std::process::id();
    let ask = move || {
        // SAFETY: prctl and getppid are system calls without memory effects, safe between fork and exec.
        let (set, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, signal), libc::getppid()) };
        // The parent may have ended before the request was in force.
        if set == 0 && u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure only makes system calls and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// Lets `command` run at a lower priority than what the user does meanwhile.
pub fn yielding(command: &mut Command) {
    const NICENESS: libc::c_int = 10;
    let yields = || {
        // SAFETY: a system call without memory effects, safe between fork and exec. Its answer may be -1 either
        // way, and a build that does not yield is still a build.
        unsafe { libc::nice(NICENESS) };
        Ok(())
    };
    // SAFETY: the closure only makes a system call and allocates nothing.
    unsafe { command.pre_exec(yields) };
}

/// Runs `command` and gives its standard output.
///
/// # Errors
/// When it cannot be started or fails; the message quotes its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = error.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(QUOTED)..).unwrap_or_default();
        let quoted: Vec<String> = tail.iter().map(|line| format!("  {}", scrub(line))).collect();
        bail!("{name} failed ({}):\n{}", output.status, quoted.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program;

    #[test]
    fn a_failure_quotes_both_streams() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = program::command("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = logged(&mut command, &log, &mut Progress::start("test")).unwrap_err().to_string();
        assert!(error.contains("  out\n") && error.contains("  err"), "{error}");
        assert_eq!(std::fs::read_to_string(log).unwrap(), "out\nerr\n");
    }

    #[test]
    fn output_is_that_of_the_command() {
        assert_eq!(output(program::command("echo").arg("x")).unwrap(), "x\n");
        assert!(output(&mut program::command("false")).is_err());
    }
}
