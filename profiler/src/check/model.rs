//! `blackout.check/1`: field names are a contract with the tools that read them.

use profiler_report::{
    catalogue::{Level, Place},
    report::Tool,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Facts, Recorder};

/// Value of [`Check::schema`].
pub const SCHEMA: &str = "blackout.check/1";

/// What this kernel offers, and how much of a live update could be measured in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// `blackout.check/1`.
    pub schema: String,
    /// What made this check.
    pub tool: Tool,
    /// The kernel that was looked at.
    pub kernel: Kernel,
    /// Whether a live update could be measured whole.
    pub verdict: Verdict,
    /// What measuring needs, and whether it is there.
    pub needs: Vec<Answer>,
    /// The flight recorder; `null` if there is none, or it could not be looked at.
    pub flight_recorder: Option<Recorder>,
    /// How the probe table was come by.
    pub tried: Trial,
    /// Probes by family.
    pub families: Vec<Family>,
    /// Every probe that would be wanted, and what would come of it.
    pub probes: Vec<Probe>,
    /// How the host's window would be divided.
    pub phases: Vec<Phase>,
    /// How much of the window would be observed.
    pub coverage: Coverage,
}

/// The kernel that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`.
    pub arch: String,
    /// Host name.
    pub host: String,
    /// `/proc/cmdline`.
    pub cmdline: String,
    /// LUO's number of the live update that brought this kernel; 0 after a cold boot.
    pub liveupdate_number: u64,
}

impl Kernel {
    /// Of the facts.
    pub fn new(facts: &Facts) -> Self {
        let kernel = facts.kernel.clone();
        let number = kernel.liveupdate_number;
        let profiler_report::recording::frame::Kernel { release, version, arch, host, cmdline, .. } = kernel;
        Self { release, version, arch, host, cmdline, liveupdate_number: number }
    }
}

/// Whether a live update could be measured whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It could.
    Ready,
    /// Something is missing.
    Poor,
    /// Nothing is known to be missing, but not everything could be looked at.
    Unknown,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It could not be looked at.
    Unknown,
}

/// One thing that measuring needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// Stable name.
    pub id: String,
    /// What it is, for a person.
    pub title: String,
    /// What it is needed for.
    pub level: Level,
    /// Whether it is there.
    pub state: State,
    /// What was seen.
    pub found: String,
    /// What is lost without it; empty if it is there.
    pub without: String,
    /// How to get it, most likely first; empty if it is there.
    pub how: Vec<String>,
}

/// How the probe table was come by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Every probe was attached, and taken out again: the table is what will happen.
    pub attached: bool,
    /// Else why not: the table goes by the names that the kernel tells.
    pub reason: Option<String>,
}

impl Trial {
    /// Of the facts.
    pub fn of(facts: &Facts) -> Self {
        Self { attached: facts.tried.is_ok(), reason: facts.tried.as_ref().err().map(ToString::to_string) }
    }
}

/// What will come of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It can be attached.
    Attached,
    /// This kernel has nothing of its names.
    Missing,
    /// The kernel refuses it.
    Failed,
    /// Not to be known without attaching it.
    Unknown,
}

/// One probe in one kernel, as the report's coverage will have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Catalogue name.
    pub probe: String,
    /// What it belongs to.
    pub family: String,
    /// In which kernel. The incoming one is taken to be of this kernel's build.
    pub kernel: Place,
    /// How: `kprobe`, `kprobe-multi`, `kprobe-session`, `tracepoint`, `boot-kprobe`, `boot-event`, `boot-function`.
    pub method: String,
    /// Symbol chosen of the alternatives.
    pub symbol: Option<String>,
    /// What will come of it.
    pub state: Expected,
    /// Why not, or what of its names this kernel does not give.
    pub reason: Option<String>,
    /// What must be so for it to be wanted at all.
    pub only_if: Option<String>,
}

/// The probes of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Family {
    /// Its name.
    pub family: String,
    /// Probes wanted in the outgoing kernel, and how many of them can be attached.
    pub outgoing: Share,
    /// In the incoming kernel, by its own probes or by the boot's.
    pub incoming: Share,
    /// Probes that can be attached in neither.
    pub without: Vec<String>,
}

/// Some of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// How many of them.
    pub attached: u32,
    /// How many of them may be or not.
    pub unknown: u32,
    /// Of how many.
    pub wanted: u32,
}

/// What will become of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forecast {
    /// It will be a phase of its own.
    Seen,
    /// If there is a guest, a device or a mark that begins it.
    Conditional,
    /// Its time will be the previous phase's.
    Joined,
    /// Its time will be unobserved.
    Unobserved,
}

/// One phase of the host's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Stable name.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Whose time it is.
    pub kernel: Place,
    /// What will become of it.
    pub state: Forecast,
    /// What will begin it.
    pub begins_with: Option<String>,
    /// Its part of the baseline's window, 0 to 1.
    pub share: Option<f64>,
}

/// How much of the window will be observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Phases that will be seen.
    pub seen: u32,
    /// Phases whose time will be unobserved.
    pub unobserved: u32,
    /// `seen` of both, 0 to 1.
    pub share: f64,
    /// Time of the phases that will be seen, of the baseline's window, 0 to 1.
    pub time_share: Option<f64>,
}
