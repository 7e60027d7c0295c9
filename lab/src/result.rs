//! What a lab run came to: written by init of either kernel, read by the host.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of the result file in the folder shared with the guest.
pub const RESULT_FILE: &str = "result.json";
/// What each stage line on the serial console starts with.
pub const LINE_PREFIX: &str = "LAB: ";
/// Most bytes kept of the output of one command.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

/// The end of one lab run as its guest saw it. Written to a temporary name, then renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabResult {
    /// The last stage that was reached.
    pub stage: Stage,
    /// Commands run under the outgoing kernel, in order.
    pub outgoing: Vec<Command>,
    /// Commands run under the incoming kernel, in order.
    pub incoming: Vec<Command>,
    /// Whether the live update and its workload came through.
    pub outcome: Outcome,
    /// Why not, or empty.
    pub message: String,
}

/// One command init ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Exit code; 128 + N when signal N ended it; `None` when it could not be started.
    pub exit_code: Option<i32>,
    /// Standard output and error together, at most [`OUTPUT_LIMIT`] bytes.
    pub output: String,
}

/// Whether the live update and its workload came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The incoming kernel runs and the workload was restored.
    Complete,
    /// The live update or the workload failed.
    Failed,
}

/// How far a run has come. Init prints each on the serial console as `LAB: <stage>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// QEMU was started (the host's own; never printed by the guest).
    Started,
    /// Init runs under the outgoing kernel.
    OutgoingUp,
    /// `blackout arm` succeeded.
    Armed,
    /// `blackout load` succeeded.
    Loaded,
    /// The workload holds its preserved state.
    WorkloadReady,
    /// `reboot(2)` is about to be called.
    Kexec,
    /// Init runs under the incoming kernel.
    IncomingUp,
    /// The workload was restored and the recording written.
    Restored,
    /// The guest is about to power off.
    Done,
}

const STAGES: [(Stage, &str); 9] = [
    (Stage::Started, "started"),
    (Stage::OutgoingUp, "outgoing up"),
    (Stage::Armed, "armed"),
    (Stage::Loaded, "loaded"),
    (Stage::WorkloadReady, "workload ready"),
    (Stage::Kexec, "kexec"),
    (Stage::IncomingUp, "incoming up"),
    (Stage::Restored, "restored"),
    (Stage::Done, "done"),
];

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = STAGES.iter().find(|(stage, _)| stage == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// Text that names no [`Stage`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a stage of a lab run")]
pub struct UnknownStage(String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        STAGES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(stage, _)| *stage)
            .ok_or_else(|| UnknownStage(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_read_back_in_order() {
        for pair in STAGES.windows(2) {
            assert!(pair[0].0 < pair[1].0);
        }
        for (stage, name) in STAGES {
            assert_eq!(stage.to_string(), name);
            assert_eq!(name.parse::<Stage>().unwrap(), stage);
        }
        assert!("kexeced".parse::<Stage>().is_err());
    }

    #[test]
    fn result_has_the_documented_form() {
        let text = r#"{"stage":"incoming-up","outgoing":[{"argv":["/bin/blackout","arm"],"exit_code":0,
            "output":""}],"incoming":[],"outcome":"failed","message":"no session lab-0"}"#;
        let result: LabResult = serde_json::from_str(text).unwrap();
        assert_eq!((result.stage, result.outcome), (Stage::IncomingUp, Outcome::Failed));
        assert_eq!(result.outgoing[0].exit_code, Some(0));
    }
}
