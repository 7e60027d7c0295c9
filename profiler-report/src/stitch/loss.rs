//! What did not come across, in the report's own words (`blackout.report/1`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the flight recorder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// The incoming kernel found the outgoing kernel's ring as it was left.
    Intact,
    /// The incoming kernel did not take it.
    Rejected,
    /// There was none.
    #[default]
    Absent,
}

/// What was lost. Zero is a count that was made; `null` is a place that did not exist in this run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Events that a live reader missed.
    pub streamed: Option<u64>,
    /// Probe records of the outgoing kernel that are not in the flight recorder: holes in their numbers.
    pub flight_recorder: Option<u64>,
    /// Records of hot paths.
    pub hot: Option<u64>,
    /// Events the boot tracer dropped, and probe records of the incoming kernel that are not in it.
    pub boot_trace: Option<u64>,
    /// Kernel log lines that were overwritten.
    pub kmsg: Option<u64>,
    /// Damaged or unknown parts of the recording itself.
    pub recording: u64,
    /// Records that could not be read or named, by what they are.
    pub per_probe: Vec<ProbeLoss>,
}

/// What one probe lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeLoss {
    /// The probe or record.
    pub probe: String,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: String,
}

impl Loss {
    /// Everything that was lost, anywhere.
    pub fn total(&self) -> u64 {
        let counted = [self.streamed, self.flight_recorder, self.hot, self.boot_trace, self.kmsg];
        let named: u64 = self.per_probe.iter().map(|probe| probe.count).sum();
        counted.into_iter().flatten().sum::<u64>() + named + self.recording
    }
}
