//! Who looks at a live update instead of `blackout`, so that the cost of looking can be compared; and the workload's
//! own clock, which judges them all.

use super::console::say;
use crate::plan::Observer;
use crate::result::Command as Record;
use anyhow::{Context, Result, bail};
use profiler_report::catalogue::{CATALOGUE, Way};
use profiler_report::recording::{Body, Side, reader};
use std::ffi::CString;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use toolbox::program;
use toolbox::program::BPFTRACE;

const TRACING: &str = "/sys/kernel/tracing";
/// Where bpftrace prints.
const OUTPUT: &str = "/run/bpftrace-output";
/// Looks, a tenth of a second apart, until it must have printed: ten minutes. Of a machine that is stopped meanwhile one
/// look is counted.
const LOOKS: u32 = 6000;
/// What bpftrace says once everything is attached, if it is asked to (src/bpftrace.cpp, 0.17).
const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// The time-stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the kernel lets user space use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Says what the workload's clock read, as `tsc WHAT TICKS`: [`crate::overhead`] reads it in what was printed.
pub fn tell(what: &str, ticks: u64) {
    say(format_args!("tsc {what} {ticks}"));
}

/// Functions that are called once a page, in one kernel.
fn functions(side: Side) -> Vec<&'static str> {
    let hot = |probe: &&profiler_report::catalogue::Probe| match side {
        Side::Outgoing => probe.outgoing.contains(&Way::Hot),
        Side::Incoming => probe.incoming.contains(&Way::Hot),
    };
    CATALOGUE.probes.iter().filter(hot).flat_map(|probe| &probe.symbols).map(String::as_str).collect()
}

/// Somebody who looks.
pub enum Looking {
    /// Nobody, or a tracer that needs no process.
    Kernel,
    /// bpftrace.
    Bpftrace(Child),
}

impl Looking {
    /// Begins to look at the functions that are called once a page; everything is attached when this comes back.
    ///
    /// # Errors
    /// When the kernel or bpftrace refuse.
    pub fn start(observer: Observer, side: Side) -> Result<Self> {
        match observer {
            Observer::FunctionGraph => {
                set("set_ftrace_filter", &functions(side).join("\n"))?;
                set("current_tracer", "function_graph")?;
                Ok(Self::Kernel)
            }
            Observer::Bpftrace => Self::bpftrace(&script(&functions(side), "kprobe", "kretprobe")),
            Observer::BpftraceTrampolines => Self::bpftrace(&script(&functions(side), "kfunc", "kretfunc")),
            Observer::Nobody | Observer::Blackout | Observer::Hot | Observer::ThenBpftrace => {
                Ok(Self::Kernel)
            }
        }
    }

    fn bpftrace(script: &str) -> Result<Self> {
        let bpftrace = BPFTRACE.find().context("the initramfs has no bpftrace")?;
        let mut command = program::command(bpftrace);
        command.args(["-e", script]).env(ATTACHED, "1").stdin(Stdio::null());
        command.stdout(File::create(OUTPUT)?).stderr(Stdio::piped());
        // Without a terminal's description it asks for none; without a home it looks for none.
        command.env("HOME", "/run").env("BPFTRACE_MAX_PROBES", "4096");
        let mut child = command.spawn().with_context(|| format!("cannot start {}", bpftrace.display()))?;
        let mut said = BufReader::new(child.stderr.take().context("bpftrace has no standard error")?);
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if said.read_line(&mut line)? == 0 {
                bail!("bpftrace attached nothing: {}", all.trim());
            }
            if line.contains(ATTACHED) {
                // Its standard error stays open with the child.
                child.stderr = Some(said.into_inner());
                return Ok(Self::Bpftrace(child));
            }
            all.push_str(&line);
        }
    }

    /// What it has found so far, if it is a command. It goes on until the machine ends: taking its probes out again takes
    /// the kernel longer than all the rest.
    ///
    /// # Errors
    /// When it does not say.
    pub fn found(&self) -> Result<Option<Record>> {
        let Self::Bpftrace(child) = self else { return Ok(None) };
        // SAFETY: plain numbers; the child has not been waited for. It prints its maps on this signal.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGUSR1) };
        let mut output = String::new();
        for _ in 0..LOOKS {
            std::thread::sleep(Duration::from_millis(100));
            let now = fs::read_to_string(OUTPUT)?;
            // Behind its head, its maps; and all of them.
            if now.contains('@') && now == output {
                return Ok(Some(Record { argv: vec!["bpftrace".into()], exit_code: None, output }));
            }
            output = now;
        }
        bail!("bpftrace says nothing of what it found")
    }
}

/// A script that times calls as a person would write it.
fn script(functions: &[&str], entry: &str, exit: &str) -> String {
    let mut script = String::new();
    for name in functions {
        // Writing to a String cannot fail.
        let _ = writeln!(
            script,
            "{entry}:{name} {{ @{name}_at[tid] = nsecs; }} \
             {exit}:{name} /@{name}_at[tid]/ {{ @{name} = hist(nsecs - @{name}_at[tid]); delete(@{name}_at[tid]); }}"
        );
    }
    script
}

/// Has bpftrace attach to the very functions that `blackout collect` has just attached to, and says how long it took.
///
/// # Errors
/// When the recording or bpftrace cannot be read.
pub fn attach_as(state: &Path) -> Result<()> {
    let path = profiler::agent::newest(state)?.context("blackout left no recording")?;
    let recording =
        reader::read(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)?;
    let coverage = recording.frames.iter().filter_map(|frame| match &frame.body {
        Body::Coverage(coverage) if frame.side == Side::Incoming => Some(coverage),
        _ => None,
    });
    let probes =
        coverage.flat_map(|coverage| &coverage.probes).filter(|probe| probe.method.starts_with("kprobe"));
    // A handler's callbacks go by their structure's member: they have no name of their own.
    let symbols: Vec<&str> =
        probes.filter_map(|probe| probe.symbol.as_deref()).filter(|symbol| !symbol.contains('.')).collect();
    tell("functions", symbols.len() as u64);
    tell("bpftrace", ticks());
    Looking::bpftrace(&script(&symbols, "kprobe", "kretprobe"))?;
    tell("bpftrace-attached", ticks());
    Ok(())
}

/// Loads the incoming kernel as it is: this kernel's command line, and `mark`. What makes `blackout`'s kernel faster is no
/// cost of looking, so this one gets it too: the frequency of its clock.
///
/// # Errors
/// When a file cannot be read or the kernel refuses.
pub fn load(kernel: &str, initrd: &str, mark: &str) -> Result<()> {
    let open = |path: &str| File::open(path).with_context(|| format!("cannot open {path}"));
    let (kernel, initrd) = (open(kernel)?, open(initrd)?);
    let cmdline = fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?;
    let theirs = profiler::agent::cmdline("0000000000000000", "", false)?;
    let frequency = theirs.split(' ').find(|word| word.starts_with("tsc_early_khz=")).unwrap_or_default();
    let cmdline = CString::new(format!("{} {mark}0000000000000000 {frequency}", cmdline.trim_end()))?;
    let length = cmdline.as_bytes_with_nul().len();
    // SAFETY: descriptors are open, the command line is readable for the length given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            length,
            cmdline.as_ptr(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("kexec_file_load failed") }
}

fn set(file: &str, value: &str) -> Result<()> {
    let path = format!("{TRACING}/{file}");
    fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_a_kernel_are_those_of_the_catalogue() {
        assert!(functions(Side::Incoming).contains(&"kho_restore_folio"));
        assert!(functions(Side::Outgoing).contains(&"kho_radix_add_key"));
        let script = script(&["a"], "kprobe", "kretprobe");
        assert!(
            script.starts_with("kprobe:a { @a_at[tid] = nsecs; } kretprobe:a /@a_at[tid]/ { @a = hist("),
            "{script}"
        );
    }
}
