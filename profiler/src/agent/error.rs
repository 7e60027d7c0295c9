//! What can go wrong on the host, and what to do about it.

use std::{io, path::PathBuf};

use profiler_mark::MarkError;
use profiler_report::{
    evidence::carrier::CarrierError,
    recording::{reader::ReadError, writer::WriteError},
};

use super::bpf::BpfError;
use crate::kexec::{cmdline::CmdlineError, stamp::StampError};

/// An error of the agent; the cause is its source. The text names the file, probe or kernel option and what to do next.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AgentError {
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{call} failed{}", hint(source))]
    Syscall { call: &'static str, source: io::Error },
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error("{}", MarkError::NoTracefs)]
    NoTracefs,
    #[error(
        "no kernel image is armed: {} holds no recording that was begun by `blackout arm`; run it first",
        .0.display()
    )]
    NotArmed(PathBuf),
    #[error("there is no /vmlinuz and no /boot/vmlinuz: name the kernel to load")]
    NoKernel,
    #[error("the command line has no blackout.run=ID: this kernel was not started by `blackout load`")]
    NoRunId,
    #[error("cannot stamp image {}", path.display())]
    Stamp { path: PathBuf, source: StampError },
    #[error("cannot describe this kernel in the flight recorder")]
    Carrier(#[from] CarrierError),
    #[error(transparent)]
    Cmdline(#[from] CmdlineError),
    #[error("cannot write recording {}", path.display())]
    Write { path: PathBuf, source: WriteError },
    #[error("cannot read recording {}", path.display())]
    Read { path: PathBuf, source: ReadError },
    #[error("cannot run {program}")]
    Command { program: String, source: io::Error },
}

impl AgentError {
    /// Wraps an I/O error with what was tried on which file.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// Wraps a failed system call.
    pub(crate) fn syscall(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Syscall { call, source }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What an errno of kexec means to its caller.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM) => " (needs CAP_SYS_BOOT; lockdown or a signature policy may also forbid it)",
        Some(libc::EINVAL) => " (is an image loaded? run `blackout load` first)",
        Some(libc::EBUSY) => " (another kexec load or reboot is under way)",
        Some(libc::ENOSYS) => " (the kernel lacks CONFIG_KEXEC_FILE)",
        _ => "",
    }
}
