//! What was found on a host.

use std::collections::{BTreeMap, BTreeSet};

use profiler_report::{evidence::kmsg::Kmsg, recording::frame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was looked at, or why it could not be.
pub type Seen<T> = Result<T, String>;

/// Everything that was looked at; nothing is concluded yet.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The kernel and its machine.
    pub kernel: frame::Kernel,
    /// Options it was built with.
    pub config: Option<BTreeMap<String, String>>,
    /// The file that tells them.
    pub config_file: Option<String>,
    /// Its log.
    pub log: Seen<Kmsg>,
    /// Features of the processor (`flags` of `/proc/cpuinfo`).
    pub cpu_flags: BTreeSet<String>,
    /// Names of the capabilities that we lack.
    pub capabilities_missing: Seen<Vec<&'static str>>,
    /// Lockdown: `none`, `integrity`, `confidentiality`; empty if the kernel has none.
    pub lockdown: String,
    /// `kernel.kexec_load_disabled`; `None` if there is no such switch.
    pub kexec_disabled: Option<bool>,
    /// KHO has a folder in debugfs: it is on. Without the folder it may be on all the same.
    pub kho_folder: bool,
    /// `/dev/liveupdate` is there.
    pub liveupdate_device: bool,
    /// tracefs is mounted.
    pub tracefs: Seen<bool>,
    /// Tracers that the kernel has.
    pub tracers: Seen<Vec<String>>,
    /// Static events `SYSTEM:NAME`: of those we use, the ones that are there.
    pub events: Seen<BTreeSet<String>>,
    /// Kprobes can be made.
    pub kprobes: bool,
    /// The kernel has BTF of itself.
    pub btf: bool,
    /// A file system for pinned probes is mounted.
    pub bpffs: bool,
    /// Of the catalogue's symbols and a few more, those that the kernel has.
    pub symbols: Seen<BTreeSet<String>>,
    /// The flight recorder; `None` if there is none.
    pub recorder: Seen<Option<Recorder>>,
    /// Length of the incoming kernel's command line, bytes; inside, why it cannot be.
    pub boot_line: Seen<Result<usize, String>>,
    /// What came of attaching the probes.
    pub tried: Result<Tried, NotTried>,
}

/// Why the probes were not attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// It cannot be tried from here.
    #[error("{0}")]
    Unable(String),
    /// It would disturb what is being recorded.
    #[error("{0}")]
    Disturbs(String),
    /// The kernel does not take the programs.
    #[error("{0}")]
    Refused(String),
}

/// What came of attaching every probe, in this kernel.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// As the outgoing kernel.
    pub outgoing: Vec<frame::ProbeState>,
    /// As if it were the incoming one.
    pub incoming: Vec<frame::ProbeState>,
}

/// The flight recorder as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorder {
    /// Name of the trace instance.
    pub instance: String,
    /// All CPUs' rings, bytes.
    pub bytes: u64,
    /// Its clock.
    pub clock: String,
    /// The event that carries our records is on: it is armed.
    pub armed: bool,
    /// It holds what a previous kernel recorded, and nobody has collected it yet.
    pub previous_boot: bool,
    /// Records in it.
    pub records: u64,
}
