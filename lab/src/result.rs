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
    /// The virtual machines that went across, as they saw it themselves.
    #[serde(default)]
    pub guests: Vec<GuestResult>,
    /// Whether the live update and its workload came through.
    pub outcome: Outcome,
    /// Why not, or empty.
    pub message: String,
}

/// What became of the PCI device that was passed through to a guest, as the guest saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceResult {
    /// Its address, such as `0000:01:00.0`.
    pub address: String,
    /// What LUO said to preserving its files; closed and opened anew they are in any case.
    pub preserve: String,
    /// It always wrote what it had read.
    pub dma_ok: bool,
    /// Interrupts taken from it when the guest was paused.
    pub irqs_before: u64,
    /// Interrupts at the end.
    pub irqs_after: u64,
}

impl DeviceResult {
    /// Of the device at `address`, which has done nothing yet.
    pub fn of(address: &str) -> Self {
        Self { address: address.into(), ..Self::default() }
    }
}

impl LabResult {
    /// A result that says nothing was reached yet.
    pub fn empty() -> Self {
        LabResult {
            stage: Stage::Started,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            guests: Vec::new(),
            outcome: Outcome::Failed,
            message: "the run has not ended".into(),
        }
    }
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

/// A guest after the live update: measured by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestResult {
    /// Its name.
    pub name: String,
    /// Its memory, bytes.
    pub memory_bytes: u64,
    /// Every byte of its memory that it does not write itself is as it was.
    pub memory_intact: bool,
    /// How much of it is mapped by huge pages, bytes.
    pub huge_page_bytes: u64,
    /// Its vCPUs; none if it did not come to run.
    pub vcpus: Vec<VcpuResult>,
    /// Its passed-through device, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceResult>,
    /// What went wrong, or empty.
    pub message: String,
}

/// One vCPU of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuResult {
    /// Its number.
    pub id: u32,
    /// Rounds of its loop when it was paused.
    pub loops_before: u64,
    /// Rounds at the end.
    pub loops_after: u64,
    /// Rounds that found the FPU's state lost.
    pub registers_lost: u64,
    /// The largest gaps between two readings of its TSC, the largest first.
    pub gaps: Vec<Gap>,
}

/// A time in which a vCPU did not run, by its own TSC, which is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last reading before, ticks.
    pub start_tsc: u64,
    /// The first reading after, ticks.
    pub end_tsc: u64,
}

impl Gap {
    /// Its length, ticks; 0 if it ends before it starts.
    pub fn ticks(&self) -> u64 {
        self.end_tsc.saturating_sub(self.start_tsc)
    }
}

impl GuestResult {
    /// A guest of which nothing is left but the reason.
    pub fn lost(name: &str, message: String) -> Self {
        GuestResult {
            name: name.into(),
            memory_bytes: 0,
            memory_intact: false,
            huge_page_bytes: 0,
            vcpus: Vec::new(),
            device: None,
            message,
        }
    }

    /// The blackout as the guest saw it: from the start of the last vCPU's largest gap to the end of the first's,
    /// which is when all stood still. `None` if they did not stand still together.
    pub fn blackout(&self) -> Option<Gap> {
        let largest = || self.vcpus.iter().map(|vcpu| vcpu.gaps.first());
        let start_tsc = largest().map(|gap| gap.map(|gap| gap.start_tsc)).collect::<Option<Vec<_>>>()?;
        let end_tsc = largest().map(|gap| gap.map(|gap| gap.end_tsc)).collect::<Option<Vec<_>>>()?;
        let gap = Gap { start_tsc: start_tsc.into_iter().max()?, end_tsc: end_tsc.into_iter().min()? };
        (gap.end_tsc > gap.start_tsc).then_some(gap)
    }

    /// The length of [`GuestResult::blackout`] on a TSC of `hz`, nanoseconds.
    pub fn blackout_ns(&self, hz: u64) -> Option<u64> {
        let ns = u128::from(self.blackout()?.ticks()) * 1_000_000_000;
        u64::try_from(ns.checked_div(u128::from(hz))?).ok()
    }

    /// What is wrong with it, if anything.
    pub fn complaint(&self) -> Option<String> {
        let name = &self.name;
        if !self.message.is_empty() {
            return Some(format!("guest {name}: {}", self.message));
        }
        self.vcpus.iter().find_map(|vcpu| {
            let VcpuResult { id, loops_before, loops_after, registers_lost, .. } = vcpu;
            if *registers_lost > 0 {
                return Some(format!("guest {name}: vCPU {id} lost its FPU's state {registers_lost} times"));
            }
            (loops_after <= loops_before).then(|| format!("guest {name}: vCPU {id} does not run"))
        })
    }
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
    fn a_guest_is_dark_while_all_its_vcpus_are() {
        let vcpu = |id, start_tsc, end_tsc| VcpuResult {
            id,
            loops_before: 5,
            loops_after: 6,
            registers_lost: 0,
            gaps: vec![Gap { start_tsc, end_tsc }, Gap { start_tsc: 1, end_tsc: 2 }],
        };
        let mut guest = GuestResult::lost("vm0", String::new());
        assert_eq!(guest.blackout(), None);
        guest.vcpus = vec![vcpu(0, 100, 900), vcpu(1, 120, 950)];
        assert_eq!(guest.blackout(), Some(Gap { start_tsc: 120, end_tsc: 900 }));
        assert_eq!((guest.blackout_ns(2_000_000_000), guest.blackout_ns(0)), (Some(390), None));
        assert_eq!(guest.complaint(), None);
        guest.vcpus[1].loops_after = 5;
        assert_eq!(guest.complaint().unwrap(), "guest vm0: vCPU 1 does not run");
        guest.vcpus[1] = vcpu(1, 901, 950);
        assert_eq!(guest.blackout(), None);
        guest.vcpus[1].gaps.clear();
        assert_eq!(guest.blackout(), None);
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
