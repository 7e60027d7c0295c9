//! What one lab run does: written by the host into the run folder, read by both kernels' init.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Name of the plan's file in the root of the initramfs.
pub const PLAN_FILE: &str = "/lab.json";

/// One live update in the lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is carried across.
    pub workload: Workload,
    /// Stamp the kernel image (`blackout load --stamp`).
    pub stamp: bool,
    /// Switch the incoming kernel's function tracer on (`blackout load --trace-boot`).
    pub trace_boot: bool,
    /// Both kernels have the lab's driver, as far as the host knows. A file of it that only one of them knows
    /// would fail the live update: nobody there would take it over.
    pub lab_driver: bool,
    /// Ask `blackout check` in the outgoing kernel what is going to be seen.
    #[serde(default)]
    pub check: bool,
    /// Stream the live update out of the machine (`blackout serve`).
    pub serve: bool,
    /// Clients beside that stream which never read, every second of them rude.
    #[serde(default)]
    pub crowd: u32,
    /// Nothing outside the machine may be seen by it: results leave through the mailbox, not a shared folder.
    pub deterministic: bool,
    /// Appended to the incoming kernel's command line.
    pub append_incoming: String,
    /// Delays planted into the lab's driver, under both kernels: parameter (`kernel-driver/lab_luo.c`) and value, as
    /// it is written there.
    #[serde(default)]
    pub delays: Vec<(String, String)>,
    /// Virtual machines that go across, each run by a VMM of its own.
    #[serde(default)]
    pub guests: Vec<Guest>,
    /// A planted fault, if this run is to fail.
    pub fault: Option<Fault>,
    /// Who looks at it.
    #[serde(default)]
    pub observer: Observer,
}

impl Plan {
    /// A plain live update of `workload`.
    pub fn new(workload: Workload) -> Self {
        Self {
            workload,
            stamp: false,
            trace_boot: false,
            lab_driver: false,
            check: false,
            serve: false,
            crowd: 0,
            deterministic: false,
            append_incoming: String::new(),
            delays: Vec::new(),
            guests: Vec::new(),
            fault: None,
            observer: Observer::Blackout,
        }
    }

    /// The plan in the root of the initramfs.
    ///
    /// # Errors
    /// When it is not there, or of another version of this program.
    pub fn read() -> Result<Self> {
        let text = std::fs::read(PLAN_FILE).with_context(|| format!("cannot read {PLAN_FILE}"))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot understand {PLAN_FILE}"))
    }
}

/// A virtual machine inside the lab's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Its name: that of its VMM's process and of its LUO session.
    pub name: String,
    /// Its memory, bytes.
    pub memory_bytes: u64,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its memory is made of huge pages (2 MiB).
    pub huge_pages: bool,
    /// Address of the PCI device that is passed through to it, if one is.
    #[serde(default)]
    pub device: Option<String>,
}

/// What is carried across the live update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Our own LUO client: sessions that hold memfds with known content.
    Luo(Luo),
    /// `/workload/outgoing` and `/workload/incoming` of the initramfs.
    Custom,
}

/// Size of our own LUO client's load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Luo {
    /// LUO sessions.
    pub sessions: u32,
    /// Memfds in each session.
    pub files: u32,
    /// Size of each memfd, bytes.
    pub file_bytes: u64,
}

/// Who looks at a live update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observer {
    /// `blackout`.
    #[default]
    Blackout,
    /// `blackout`, which counts functions that are called once a page (`--hot`).
    Hot,
    /// `blackout`; and once it is done, bpftrace attaches the same functions.
    ThenBpftrace,
    /// Nobody.
    Nobody,
    /// A bpftrace script on those functions, by kprobes.
    Bpftrace,
    /// A bpftrace script on those functions, by trampolines.
    BpftraceTrampolines,
    /// The kernel's function_graph tracer on those functions.
    FunctionGraph,
}

impl Observer {
    /// Whether it is `blackout`.
    pub fn is_blackout(self) -> bool {
        matches!(self, Self::Blackout | Self::Hot | Self::ThenBpftrace)
    }

    /// Whether the guest needs bpftrace.
    pub fn needs_bpftrace(self) -> bool {
        matches!(self, Self::ThenBpftrace | Self::Bpftrace | Self::BpftraceTrampolines)
    }
}

impl Fault {
    /// Whether it befalls a guest.
    pub fn needs_guest(self) -> bool {
        use Fault::{MissingSession, NoKvm, PausedEarly, ResizedMemory, StuckVcpu, VmmDies, WrongToken};
        matches!(
            self,
            VmmDies | MissingSession | WrongToken | ResizedMemory | StuckVcpu | PausedEarly | NoKvm
        )
    }
}

/// A fault to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// No kernel image is loaded: `reboot(2)` gives `EINVAL`.
    NoImage,
    /// The kexec lock is held while `reboot(2)` is called: `EBUSY`.
    Busy,
    /// A LUO file handler refuses to freeze.
    FreezeFails,
    /// The incoming kernel panics early in user space.
    Panic,
    /// The incoming kernel hangs (init sleeps for ever).
    Hang,
    /// The workload preserves nothing.
    Unpreserved,
    /// The workload corrupts a page before the kexec, after its checksum was taken.
    Corrupted,
    /// A guest's VMM is killed before the kexec.
    VmmDies,
    /// A guest's session is preserved under another name than it is looked for.
    MissingSession,
    /// A guest's memory is looked for under a token that nothing was preserved under.
    WrongToken,
    /// Half of a guest's memory is preserved instead of all of it.
    ResizedMemory,
    /// A vCPU is restored in a state it never leaves.
    StuckVcpu,
    /// A guest is paused long before the live update.
    PausedEarly,
    /// The lab's machine has no KVM.
    NoKvm,
    /// The flight recorder is left off the outgoing kernel's command line.
    NoFlightRecorder,
    /// The device that is to be passed through is in another's hands under the incoming kernel.
    DeviceBusy,
    /// The incoming kernel is given another flight recorder size, so that it rejects the ring.
    RejectedFlightRecorder,
}
