//! What one lab run does: written by the host into the run folder, read by both kernels' init.

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
    /// Nothing outside the machine may be seen by it: results leave through the mailbox, not a shared folder.
    pub deterministic: bool,
    /// Appended to the incoming kernel's command line.
    pub append_incoming: String,
    /// A planted fault, if this run is to fail.
    pub fault: Option<Fault>,
}

impl Plan {
    /// A plain live update of `workload`.
    pub fn new(workload: Workload) -> Self {
        Self {
            workload,
            stamp: false,
            trace_boot: false,
            lab_driver: false,
            deterministic: false,
            append_incoming: String::new(),
            fault: None,
        }
    }
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
    /// The flight recorder is left off the outgoing kernel's command line.
    NoFlightRecorder,
    /// The incoming kernel is given another flight recorder size, so that it rejects the ring.
    RejectedFlightRecorder,
}
