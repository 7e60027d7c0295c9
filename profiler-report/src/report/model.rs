//! `blackout.report/1`: field names are a contract with the tools that read them.
//!
//! All times are integer nanoseconds on the report's own axis: 0 is the start of the window, what lies
//! before it is negative. `null` is unknown; it is never written as zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::Place;
pub use crate::stitch::{Handover, Loss, ProbeLoss};
pub use crate::timeline::{Identity, VmStatus};

/// Value of [`Report::schema`].
pub const SCHEMA: &str = "blackout.report/1";

/// What one live update did, and how long each part of it took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `blackout.report/1`.
    pub schema: String,
    /// What made this report.
    pub tool: Tool,
    /// Which live update, on which machine.
    pub run: Run,
    /// The kernel that was replaced.
    pub outgoing: Option<Kernel>,
    /// The kernel that replaced it.
    pub incoming: Option<Kernel>,
    /// LUO's number of this live update, as the incoming kernel printed it.
    pub liveupdate_number: Option<u64>,
    /// KHO's count of kexecs since the cold boot, as the incoming kernel printed it.
    pub kexec_count: Option<u32>,
    /// Whether it worked.
    pub outcome: Outcome,
    /// What failed, in the order of time.
    pub failures: Vec<Failure>,
    /// What became of the flight recorder.
    pub handover: Handover,
    /// The time base.
    pub clock: Clock,
    /// The window that the phases divide; `null` if the evidence does not hold both its ends.
    pub window: Option<Window>,
    /// Guests, each with its own window; the longest window first.
    pub vms: Vec<Vm>,
    /// Points in time that VMMs named, in order.
    pub marks: Vec<Mark>,
    /// The partition: these durations add up to the window's, exactly.
    pub phases: Vec<Phase>,
    /// Sum of the phases that no evidence covers.
    pub unobserved_ns: u64,
    /// How much of the window has the finest name there is: on the critical path of each phase the time inside spans.
    /// Phases that no span is expected to divide (`leaf` in phases.toml: the dark, early boot, core set-up, ...) count
    /// whole, unobserved ones not at all.
    #[serde(default)]
    pub attributed_ns: Option<u64>,
    /// Deferred initialisation of `struct page`, by NUMA node.
    #[serde(default)]
    pub deferred_pages: Vec<DeferredPages>,
    /// Spans before the window: preparation while the guests still run.
    pub brownout: Vec<Span>,
    /// Functions that are counted, not streamed.
    pub hot: Vec<Hot>,
    /// Every probe that was wanted.
    pub coverage: Vec<Coverage>,
    /// What was lost.
    pub loss: Loss,
    /// What looking has cost.
    pub overhead: Overhead,
    /// What could be shorter, with the evidence for it.
    pub advice: Vec<Advice>,
    /// Commands that ran beside the recorder.
    pub commands: Vec<Command>,
    /// What a reader must know to trust these numbers, in words.
    pub notes: Vec<String>,
}

impl Report {
    /// There is no incoming half and nothing failed: the run is armed and has not begun, or its end was lost.
    pub fn is_open(&self) -> bool {
        self.incoming.is_none() && self.failures.is_empty() && self.outcome == Outcome::Partial
    }
}

/// What made this report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `blackout`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Commit it was built from; empty if unknown.
    pub commit: String,
}

/// Which live update, on which machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Run id: 16 hex digits.
    pub id: String,
    /// When it was armed, RFC 3339, UTC.
    pub recorded_at: String,
    /// Host name.
    pub host: String,
    /// `x86_64`, ...
    pub arch: String,
    /// CPUs online.
    pub cpus: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// NUMA nodes.
    pub numa_nodes: u32,
    /// Recorded in a lab whose time is a function of instructions executed.
    pub deterministic: bool,
}

/// One kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// GNU build id, hex.
    pub build_id: String,
    /// SHA-256 of `/proc/config.gz`, hex.
    pub config_sha256: String,
    /// Command line.
    pub cmdline: String,
    /// Configuration: options that are set, by name (`CONFIG_SMP`: `y`); `null` if it was not recorded.
    #[serde(default)]
    pub config: Option<BTreeMap<String, String>>,
}

/// Whether the live update worked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Both kernels were seen, nothing failed, the window has both ends.
    Complete,
    /// It may have worked, but part of the evidence is missing.
    #[default]
    Partial,
    /// The kexec was refused, or something was not restored.
    Failed,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Which kernel.
    pub kernel: Place,
    /// Function, system call or command.
    pub function: String,
    /// LUO session, if known.
    pub session: Option<String>,
    /// LUO token, if known.
    pub token: Option<String>,
    /// Positive errno, if known.
    pub errno: Option<i32>,
    /// When, if known.
    pub at_ns: Option<i64>,
    /// In words.
    pub message: String,
}

/// The time base.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// `tsc`, ...
    pub source: String,
    /// Its frequency.
    pub hz: u64,
    /// Largest error of any border of the window, from the anchors.
    pub error_ns: u64,
    /// Realtime at 0 of this axis, nanoseconds since 1970, by the outgoing kernel's clock if that was read, else by the
    /// incoming one's; `null` without a window or such a reading. A label: durations come from `source` alone.
    #[serde(default)]
    pub origin_unix_ns: Option<u64>,
}

/// The window that is divided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// `vm`, `host` or `marks`.
    pub definition: String,
    /// `id` of the guest whose window it is; `null` unless `definition` is `vm`.
    pub vm: Option<String>,
    /// What begins it.
    pub start: String,
    /// What ends it.
    pub end: String,
    /// Its length.
    pub duration_ns: u64,
    /// Error of that length.
    pub error_ns: u64,
}

/// One guest. Its own window lies between the last exit of the last of its vCPUs to stop and the first
/// entry behind which one of them ran: one that an interrupt or a missing page throws out at once is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vm {
    /// Identity across the update; unique in a report.
    pub id: String,
    /// Name its VMM gave it.
    pub name: String,
    /// What [`name`](Self::name) rests on, and what ties its two halves together.
    pub identity: Identity,
    /// How much of its window is known.
    pub status: VmStatus,
    /// In words, why its window is not known, or not known exactly; `null` if it is.
    pub why: Option<String>,
    /// Its own window; `null` if it is not known. If `status` is `bounded`, the true one is shorter or equal.
    pub blackout_ns: Option<u64>,
    /// Error of that length: both borders, drift of the clock, and `switch_ns`; `null` if that is not known.
    pub error_ns: Option<u64>,
    /// Part of `error_ns`: what the guest itself may see beyond the two borders, because it runs only
    /// after the entry was seen and stops before its exit is; or may have run between its very first entry and the one
    /// behind which it surely ran. Measured in this run.
    pub switch_ns: Option<u64>,
    /// Where its window begins; `null` if no exit of it was seen.
    pub start_ns: Option<i64>,
    /// Where its window ends; `null` if it never ran again, or nobody saw it.
    pub end_ns: Option<i64>,
    /// Process of its VMM in the outgoing kernel.
    pub outgoing_pid: Option<u32>,
    /// Process of its VMM in the incoming kernel.
    pub incoming_pid: Option<u32>,
    /// Its vCPUs, by number.
    pub vcpus: Vec<Vcpu>,
}

/// One vCPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vcpu {
    /// Number.
    pub id: u32,
    /// Its own last exit to its own first entry; `null` if either is not known.
    pub pause_ns: Option<u64>,
    /// Error of that length, without the guest's `switch_ns`.
    pub error_ns: Option<u64>,
    /// Its last exit in the outgoing kernel.
    pub last_exit_ns: Option<i64>,
    /// Its first entry in the incoming kernel.
    pub first_entry_ns: Option<i64>,
    /// Exits in the outgoing kernel while it was armed.
    pub exits: Option<u64>,
}

/// A point in time that a VMM named (`blackout mark NAME`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// In which kernel.
    pub kernel: Place,
    /// `id` of the guest it is about, if it is about one; the name it gives, if no vCPU of that guest was seen.
    pub vm: Option<String>,
    /// When.
    pub at_ns: i64,
    /// Error of that time.
    pub error_ns: u64,
}

/// One cell of the partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Stable name; `unobserved` for time that no evidence covers.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Whose time it is.
    pub kernel: Place,
    /// Where it begins.
    pub start_ns: i64,
    /// Its length.
    pub duration_ns: u64,
    /// Its part of the window, 0 to 1.
    pub share: f64,
    /// Error of its length.
    pub error_ns: u64,
    /// What begins it.
    pub begins_with: String,
    /// What happened inside, as a forest; spans that cross a border are listed where they begin.
    pub spans: Vec<Span>,
    /// What it waited for: the critical path, walked back from its end, by what its time went to; the longest
    /// first, at most 16. Times add up to no more than the phase's; what is missing went to nothing that has a name.
    /// Empty if nobody is known to have ended the phase.
    #[serde(default)]
    pub chain: Vec<Link>,
}

/// What a part of a phase's critical path went to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Name of the span.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its subject.
    pub subject: String,
    /// Its task.
    pub pid: Option<u32>,
    /// Its own time on the path, in this phase.
    pub own_ns: u64,
}

/// What one NUMA node's thread did of the deferred initialisation of `struct page`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeferredPages {
    /// The node.
    pub node: u32,
    /// Pages whose structure it was left, by the node's zones; `null` if they were not recorded.
    pub pages: Option<u64>,
    /// When it began.
    pub start_ns: i64,
    /// How long it took.
    pub duration_ns: u64,
    /// Error of that.
    pub error_ns: u64,
    /// Pages in a second.
    pub pages_per_second: Option<u64>,
}

/// One timed thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// Function, initcall or command.
    pub name: String,
    /// Family of the probe, `initcall`, `process`.
    pub kind: String,
    /// Whose time it is: session, token, device.
    pub subject: String,
    /// Where it begins.
    pub start_ns: i64,
    /// Its length; `null` if its end was not seen.
    pub duration_ns: Option<u64>,
    /// Its length less the time in which spans inside it run.
    pub self_ns: Option<u64>,
    /// CPU at its begin.
    pub cpu: Option<u32>,
    /// Task.
    pub pid: Option<u32>,
    /// Task's name.
    pub comm: Option<String>,
    /// What it returned.
    pub retval: Option<i64>,
    /// On the chain that ended its phase.
    pub critical: bool,
    /// What happened inside it.
    pub spans: Vec<Span>,
}

/// A function that is called once a page: counted, not streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hot {
    /// Its name in the catalogue.
    pub probe: String,
    /// In which kernel.
    pub kernel: Place,
    /// In which phase, as far as it can be told; `brownout` is before the window.
    pub phase: String,
    /// Whose calls they are: session and token; empty for all calls of that phase.
    #[serde(default)]
    pub subject: String,
    /// The function that told how many calls there are in it, so that nobody had to look at them; `null` if they were
    /// counted where they ran (`--hot`), all of them.
    #[serde(default)]
    pub carried_by: Option<String>,
    /// Calls.
    pub count: u64,
    /// What they are about, together, such as the bytes of a memfd; `null` if nobody told.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Order of the folios, which are 4 KiB << order each, if they are all alike: the only one by which so many hold
    /// those bytes.
    #[serde(default)]
    pub order: Option<u32>,
    /// Their time together; `null`, as the other times, if nobody took it.
    pub total_ns: Option<u64>,
    /// The shortest.
    pub min_ns: Option<u64>,
    /// Half took no longer; within 1 %.
    pub p50_ns: Option<u64>,
    /// 99 of 100 took no longer; within 1 %.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// How they are distributed, within 1 %: HdrHistogram V2, base64.
    pub hdr: Option<String>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Its name in the catalogue.
    pub probe: String,
    /// What it belongs to.
    pub family: String,
    /// Which kernel it watched.
    pub kernel: Place,
    /// The symbol that was taken.
    pub symbol: Option<String>,
    /// `kprobe`, `boot-kprobe`, `boot-function`.
    pub method: String,
    /// How it went.
    pub state: ProbeState,
    /// Calls seen.
    pub hits: u64,
    /// Why not, if not.
    pub reason: Option<String>,
}

/// How a probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeState {
    /// In place, and hit.
    Fired,
    /// In place, never hit.
    Attached,
    /// This kernel has none of its symbols.
    Missing,
    /// It could not be put in place.
    Failed,
}

/// What looking has cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// Run time of the eBPF programs that write records, as they measured it themselves: outgoing from `arm` to
    /// `machine_kexec`, incoming to the end of `collect`.
    pub probe_ns: Option<u64>,
    /// Their runs.
    pub probe_runs: Option<u64>,
    /// The part of `probe_ns` in the window: the runs there, at their mean.
    #[serde(default)]
    pub probe_in_window_ns: Option<u64>,
    /// Run time of the programs that count (`--hot`), reckoned from the runs that timed themselves, one in some 64. What
    /// the kernel does to call them comes on top; `null` if nothing was counted.
    #[serde(default)]
    pub hot_ns: Option<u64>,
    /// Their runs: two a call.
    #[serde(default)]
    pub hot_runs: Option<u64>,
    /// Loading the programs into the incoming kernel.
    pub load_ns: Option<u64>,
    /// Attaching them there.
    pub attach_ns: Option<u64>,
    /// How much of both lay inside the window (beside the restore, on another CPU if there is one).
    pub in_window_ns: Option<u64>,
}

/// What could be shorter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Advice {
    /// Id of the rule that fired.
    #[serde(default)]
    pub rule: String,
    pub phase: String,
    pub text: String,
    pub saving_ns: u64,
    pub how: String,
}

/// A command that ran beside the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// Which kernel.
    pub kernel: Place,
    /// What was run.
    pub argv: Vec<String>,
    /// Exit code; 128 + signal if killed.
    pub exit_code: i32,
    /// When it began.
    pub start_ns: i64,
    /// How long it took.
    pub duration_ns: u64,
}
