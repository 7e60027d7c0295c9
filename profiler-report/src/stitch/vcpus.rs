//! When vCPUs stopped, and ran again.

use profiler_common::vcpu::{VcpuId, VcpuRecord};

use super::Moment;
use crate::{
    clock::{Anchor, ClockError, Hz, Mapping, Slope},
    evidence::{carrier::MonotonicLine, mark::Mark, text::scrub_c_string},
};

/// How far `CLOCK_MONOTONIC` may run off the TSC's frequency, parts per million: NTP steers it, and the
/// frequency itself is a calibration. It counts from the nearest reading of both clocks on.
const STEERING_PPM: u64 = 100;

/// What KVM's tracepoints told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vcpus {
    /// Last exit of each vCPU in the outgoing kernel.
    pub exits: Vec<LastExit>,
    /// First entry of each vCPU in the incoming kernel.
    pub entries: Vec<FirstEntry>,
    /// Its first stays in the guest, in order of time.
    pub stays: Vec<Stay>,
    /// How many last exits were written out; `None` if nobody did.
    pub written: Option<u64>,
    /// Exits in the outgoing kernel of vCPUs that found no room.
    pub refused: u64,
}

/// The last exit of a vCPU.
#[derive(Debug, Clone, PartialEq)]
pub struct LastExit {
    /// Whose.
    pub id: VcpuId,
    /// When.
    pub at: Moment,
    /// How long before it the guest may have stood still already: it was let in again, but so briefly that it
    /// need not have run. Ticks; `None` if nobody saw it run.
    pub still_ticks: Option<u64>,
    /// Exits while the probe was attached.
    pub exits: u64,
    /// `exit_reason` of the hardware.
    pub reason: u64,
    /// Name of the vCPU's thread, scrubbed.
    pub comm: String,
}

impl LastExit {
    /// The guest halted this vCPU: it runs again only when something wakes it.
    pub fn is_halt(&self) -> bool {
        /// `EXIT_REASON_HLT` (arch/x86/include/uapi/asm/vmx.h), `SVM_EXIT_HLT` (svm.h).
        const HALTS: [u64; 2] = [12, 0x78];
        HALTS.contains(&self.reason)
    }
}

/// The first entry of a vCPU.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstEntry {
    /// Whose.
    pub id: VcpuId,
    /// When; if it was missed, the first exit, before which it was.
    pub at: Moment,
    /// The entry itself was missed: the probe came too late.
    pub missed: bool,
    /// Name of the vCPU's thread, scrubbed; empty if its entry was missed.
    pub comm: String,
}

/// One stay of a vCPU in the guest, from `kvm_entry` to `kvm_exit`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stay {
    /// Whose.
    pub id: VcpuId,
    /// When it ended.
    pub exit: Moment,
    /// Its length, ticks.
    pub ticks: u64,
    /// `exit_reason` of the hardware.
    pub reason: u64,
}

impl Vcpus {
    /// Takes the outgoing kernel's records. Their times are `CLOCK_MONOTONIC`, which `lines` of the
    /// flight recorder and the records themselves tie to the TSC.
    ///
    /// # Errors
    /// If nothing ties that clock.
    pub fn outgoing<'a>(
        &mut self,
        records: &[(VcpuRecord, Moment)],
        lines: impl Iterator<Item = &'a str>,
        hz: Hz,
    ) -> Result<(), ClockError> {
        let mut anchors: Vec<Anchor> = lines.filter_map(anchor).collect();
        // A record's reading was made after the record before it was written, on the same CPU.
        anchors.extend(records.windows(2).filter_map(|pair| match pair {
            [(_, before), (record, after)] => Some(Anchor {
                value_ns: written_ns(record)?,
                before: before.ticks.saturating_sub(before.error_ticks),
                after: after.ticks.saturating_add(after.error_ticks),
            }),
            _ => None,
        }));
        for (record, _) in records {
            if let VcpuRecord::Flushed { vcpus, refused, .. } = record {
                (self.written, self.refused) = (Some(*vcpus), *refused);
            }
        }
        if !records.iter().any(|(record, _)| matches!(record, VcpuRecord::LastExit { .. })) {
            return Ok(());
        }
        anchors.sort_by_key(|anchor| anchor.value_ns);
        let slope = Slope::Hz { hz: hz.get(), error_hz: hz.get() / 1_000_000 * STEERING_PPM };
        let clock = Mapping::fit(&anchors, Some(slope), 1)?;
        self.exits.extend(records.iter().filter_map(|(record, _)| match record {
            VcpuRecord::LastExit { id, exit_ns, ran_ns, exits, reason, comm, .. } => Some(LastExit {
                id: *id,
                at: clock.to_tsc(*exit_ns).into(),
                still_ticks: (*ran_ns != 0).then(|| hz.ticks(exit_ns.saturating_sub(*ran_ns))),
                exits: *exits,
                reason: *reason,
                comm: name(comm),
            }),
            _ => None,
        }));
        Ok(())
    }

    /// Takes the incoming kernel's records: their own time is that of the event.
    pub fn incoming(&mut self, records: &[(VcpuRecord, Moment)], hz: Hz) {
        for (record, at) in records {
            match *record {
                VcpuRecord::FirstEntry { id, ref comm, .. } => {
                    self.entries.push(FirstEntry { id, at: *at, missed: false, comm: name(comm) });
                }
                VcpuRecord::Stay { id, entry_ns: 0, .. } => {
                    self.entries.push(FirstEntry { id, at: *at, missed: true, comm: String::new() });
                }
                VcpuRecord::Stay { id, entry_ns, exit_ns, reason, .. } => {
                    let ticks = hz.ticks(exit_ns.saturating_sub(entry_ns));
                    self.stays.push(Stay { id, exit: *at, ticks, reason });
                }
                VcpuRecord::LastExit { .. } | VcpuRecord::Flushed { .. } => {}
            }
        }
    }
}

fn anchor(line: &str) -> Option<Anchor> {
    if let Some(MonotonicLine { before, monotonic_ns, after }) = MonotonicLine::parse(line) {
        return Some(Anchor { value_ns: monotonic_ns, before, after });
    }
    let Mark { tsc, monotonic_ns, tsc_after, .. } = Mark::parse(line)?;
    Some(Anchor { value_ns: monotonic_ns, before: tsc, after: tsc_after })
}

fn written_ns(record: &VcpuRecord) -> Option<u64> {
    match record {
        VcpuRecord::LastExit { now_ns, .. } | VcpuRecord::Flushed { now_ns, .. } => Some(*now_ns),
        VcpuRecord::FirstEntry { .. } | VcpuRecord::Stay { .. } => None,
    }
}

fn name(comm: &[u8; 16]) -> String {
    scrub_c_string(comm, comm.len() * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_000_000_000;

    fn id(vcpu: u32) -> VcpuId {
        VcpuId { pid: 7, vcpu }
    }

    fn exit(vcpu: u32, exit_ns: u64, now_ns: u64) -> VcpuRecord {
        VcpuRecord::LastExit {
            seq: 0,
            id: id(vcpu),
            exit_ns,
            ran_ns: exit_ns.saturating_sub(50),
            now_ns,
            exits: 3,
            reason: 1,
            comm: *b"vcpu\0\0\0\0\0\0\0\0\0\0\0\0",
        }
    }

    #[test]
    fn exits_are_put_on_the_tsc_by_the_readings_around_them() {
        // The clock reads 0 at tick 1000 and runs true: 2 ticks a nanosecond.
        let tsc = |ns: u64| 1000 + 2 * ns;
        let line =
            |ns| MonotonicLine { before: tsc(ns) - 10, monotonic_ns: ns, after: tsc(ns) + 10 }.to_string();
        let lines = [line(1_000_000), "blackout:M:nonsense".to_owned(), line(2_000_000)];
        let at = |ns| Moment { ticks: tsc(ns), error_ticks: 6 };
        let records = [
            (exit(0, 2_000_100, 90_000_000), at(90_000_500)),
            (exit(1, 50_000_000, 90_001_000), at(90_001_500)),
            (VcpuRecord::Flushed { seq: 9, vcpus: 2, refused: 4, now_ns: 90_002_000 }, at(90_002_500)),
        ];
        let mut vcpus = Vcpus::default();
        vcpus.outgoing(&records, lines.iter().map(String::as_str), Hz::new(HZ).unwrap()).unwrap();
        assert_eq!((vcpus.written, vcpus.refused), (Some(2), 4));
        assert_eq!(vcpus.exits[0].comm, "vcpu");
        for (exit, ns, largest) in [(&vcpus.exits[0], 2_000_100, 14), (&vcpus.exits[1], 50_000_000, 9_600)] {
            assert!(exit.at.ticks.abs_diff(tsc(ns)) <= exit.at.error_ticks, "{exit:?}");
            assert!(exit.at.error_ticks <= largest, "{exit:?}");
            assert_eq!(exit.still_ticks, Some(100));
        }
    }

    #[test]
    fn exits_without_any_tie_are_an_error() {
        let records = [(exit(0, 1, 2), Moment::exact(3))];
        let hz = Hz::new(HZ).unwrap();
        assert_eq!(Vcpus::default().outgoing(&records, [].into_iter(), hz), Err(ClockError::NoAnchors));
    }

    #[test]
    fn an_exit_without_its_entry_is_a_missed_entry() {
        let stay = |entry_ns, exit_ns| VcpuRecord::Stay { seq: 0, id: id(0), entry_ns, exit_ns, reason: 5 };
        let records = [(stay(0, 900), Moment::exact(50)), (stay(1000, 1500), Moment::exact(99))];
        let mut vcpus = Vcpus::default();
        vcpus.incoming(&records, Hz::new(HZ).unwrap());
        assert!(vcpus.entries[0].missed);
        assert_eq!(vcpus.stays, [Stay { id: id(0), exit: Moment::exact(99), ticks: 1000, reason: 5 }]);
    }
}
