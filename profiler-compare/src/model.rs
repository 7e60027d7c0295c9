//! `blackout.compare/1`: field names are a contract with the tools that read them.

use profiler_report::{catalogue::Place, report::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Check;
pub use super::stats::{Estimate, Method};

/// Value of [`Comparison::schema`].
pub const SCHEMA: &str = "blackout.compare/1";

/// Whether one build's blackout is longer than another's, where, by how much, and what else differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// `blackout.compare/1`.
    pub schema: String,
    /// What made this comparison.
    pub tool: Tool,
    /// The gate: regression if the window or any phase is one; else what the window says, but improvement
    /// also if only a phase is one.
    pub verdict: Verdict,
    /// The answer in one sentence.
    pub summary: String,
    /// What the verdicts were held to.
    pub limits: Limits,
    /// Every run is of a deterministic machine: times are subtracted, not tested.
    pub deterministic: bool,
    /// The build compared with.
    pub base: Group,
    /// The build in question.
    pub new: Group,
    /// The whole window; `null` if no run of either side has one.
    pub window: Option<Row>,
    /// The blackout of each guest that both sides have, by name. They explain, and do not gate: they overlap the
    /// window.
    pub vms: Vec<Row>,
    /// Every phase, in the order of time.
    pub phases: Vec<Row>,
    /// Named spans by their own time, the largest change first: what was tested and differs, then the
    /// largest of the others.
    pub spans: Vec<Row>,
    /// Spans of both sides, listed or not.
    pub spans_compared: usize,
    /// Functions that are counted, not streamed, by their total time.
    pub hot: Vec<Row>,
    /// What differs beside the time, what may explain it first.
    pub changes: Vec<Change>,
    /// Budgets that were checked, if any were given.
    pub budgets: Vec<Check>,
    /// What a reader must know to trust the verdict.
    pub warnings: Vec<String>,
}

/// The four verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Longer, by more than the limits.
    Regression,
    /// Shorter, by more than the limits.
    Improvement,
    /// The difference is within the limits.
    Equivalent,
    /// The runs do not decide it.
    Inconclusive,
}

/// What a difference is held to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Level of the tests: the window alone, the phases together (Holm), the spans together. Intervals
    /// have the level 1 - alpha each.
    pub alpha: f64,
    /// Smallest ratio that matters, less 1: 0.01 is one per cent.
    pub min_effect: f64,
    /// Smallest difference that matters, nanoseconds.
    pub floor_ns: u64,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Releases of the incoming kernels.
    pub releases: Vec<String>,
    /// Its runs, in the order of time.
    pub runs: Vec<Member>,
}

/// One run of a side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// File it was read from.
    pub name: String,
    /// Run id.
    pub id: String,
    /// When it was armed, RFC 3339, UTC.
    pub recorded_at: String,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The whole window.
    Window,
    /// The blackout of one guest.
    Vm,
    /// One phase.
    Phase,
    /// One named span.
    Span,
    /// One counted function.
    Hot,
}

/// One thing that both sides have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// What it is about.
    pub level: Level,
    /// Phase id; empty for the window.
    pub phase: String,
    /// Whose time it is; `null` for the window and for spans.
    pub kernel: Option<Place>,
    /// Name of the guest, title of the phase, name of the span.
    pub name: String,
    /// Family of the span's probe.
    pub kind: String,
    /// Subject of the span: session, token, device.
    pub subject: String,
    /// Times of the base.
    pub base: Times,
    /// Times of the new build.
    pub new: Times,
    /// New less base, nanoseconds.
    pub shift_ns: Option<Estimate>,
    /// New by base; `null` if a time is zero.
    pub ratio: Option<Estimate>,
    /// p of the test; `null` if there was none.
    pub p: Option<f64>,
    /// p adjusted for the family of tests it belongs to.
    pub p_adjusted: Option<f64>,
    /// How it was judged.
    pub method: Method,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, if the numbers alone do not say it.
    pub reason: Option<String>,
    /// If inconclusive: runs a side that would decide it in four of five cases, going by what was seen;
    /// `null` if no reasonable number would.
    pub runs_needed: Option<u64>,
    /// Runs that were left out here, and why.
    pub excluded: Vec<Excluded>,
    /// What is odd about these times.
    pub warnings: Vec<String>,
}

/// Times of one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// Median, nanoseconds; `null` without runs.
    pub median_ns: Option<f64>,
    /// One value a run, in the order of time, nanoseconds.
    pub values_ns: Vec<u64>,
    /// Median number of calls; `null` for windows and phases.
    pub calls: Option<f64>,
}

/// A run that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// Its file.
    pub run: String,
    /// Why.
    pub reason: String,
}

/// Something that differs beside the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What kind of thing.
    pub what: What,
    /// Which kernel; `null` for the machine.
    pub kernel: Option<Place>,
    /// Its name: option, parameter, initcall, probe.
    pub name: String,
    /// Value in the base; `null` if it is not there.
    pub base: Option<String>,
    /// Value in the new build; `null` if it is not there.
    pub new: Option<String>,
    /// Phases that differ in time and whose names share words with this one: a hint, not a proof.
    pub hints: Vec<String>,
}

/// Kinds of [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Release, version, build id.
    Build,
    /// Option of the kernel's configuration; not set is `null`.
    Config,
    /// Parameter of the command line.
    Parameter,
    /// CPUs, memory, nodes, host.
    Machine,
    /// Phase that one side does not have.
    Phase,
    /// Initcall that one side does not have.
    Initcall,
    /// Span that one side does not have: a device, a file, a session.
    Span,
    /// How a probe was attached.
    Probe,
}
