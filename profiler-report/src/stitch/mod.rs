//! Recording -> both kernels' sightings on one axis.
//!
//! Every clock becomes TSC here: the flight recorder's `local` clock by the anchors it carries, the
//! boot tracer's by nothing (it is on raw TSC), the kernel log's by the lines that the boot tracer
//! stamped as well. The halves are joined only if they belong together.

mod clean;
mod clocks;
pub mod counted;
mod decode;
mod half;
mod logs;
mod loss;
mod sighting;
mod vcpus;

use std::mem;

use clocks::StampedLine;
use profiler_common::{cost::CostRecord, hot::HotRecord, vcpu::VcpuRecord};
use thiserror::Error;

use crate::{
    clock::{Hz, join::JoinError},
    evidence::{
        carrier,
        facts::Fact,
        mark::Mark,
        probe_record,
        stamps::ImageStamps,
        trace::{self, Trace, TraceKind},
    },
    recording::{
        Recording, Side,
        frame::{CommandResult, Counted, TraceBuffer},
    },
};

pub use counted::Cost;
pub use decode::sightings;
pub use half::Half;
pub use logs::{Complaint, LogLine};
pub use loss::{Handover, Loss, ProbeLoss};
pub use sighting::{Carried, Moment, Sighting, Source, What};
pub use vcpus::{FirstEntry, LastExit, Stay, Vcpus};

/// The recording cannot be made one timeline.
#[derive(Debug, Error)]
pub enum StitchError {
    /// It holds neither half.
    #[error("the recording holds no evidence of any kernel")]
    Empty,
    /// Ticks cannot become time.
    #[error("neither kernel's log says the TSC's frequency (a line \"tsc: Detected ... MHz\")")]
    NoFrequency,
    /// The halves do not belong together.
    #[error("the two halves do not belong together: {0}")]
    Join(#[from] JoinError),
}

/// Both halves on one axis.
#[derive(Debug)]
pub struct Stitched<'a> {
    /// The outgoing kernel's half.
    pub outgoing: Half<'a>,
    /// The incoming kernel's half.
    pub incoming: Half<'a>,
    /// What became of the flight recorder.
    pub handover: Handover,
    /// Everything that was seen, in order of time.
    pub sightings: Vec<Sighting>,
    /// What KVM's tracepoints told of vCPUs.
    pub vcpus: Vcpus,
    /// What was counted where it ran, by kernel: the outgoing one's first.
    pub counted: [Counted; 2],
    /// What the programs took, likewise.
    pub cost: [Cost; 2],
    /// Frequency of the axis.
    pub hz: Hz,
    /// Its uncertainty: how far the two kernels' calibrations differ, parts per 10^9.
    pub hz_error_ppb: u64,
    /// What the incoming kernel said, in order.
    pub log: Vec<LogLine>,
    /// What the kernels' logs complain about.
    pub complaints: Vec<Complaint>,
    /// What was lost; the recording's own damage is not in it.
    pub loss: Loss,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Stitched<'_> {
    /// Commands that ran beside the recorder.
    pub fn commands(&self) -> impl Iterator<Item = (Side, &CommandResult)> {
        let outgoing = self.outgoing.commands.iter().map(|command| (Side::Outgoing, command));
        outgoing.chain(self.incoming.commands.iter().map(|command| (Side::Incoming, command)))
    }
}

/// Joins the two halves of a recording.
///
/// # Errors
/// If there is no evidence, if the halves are of different live updates, or if time runs backwards.
pub fn stitch(recording: &Recording) -> Result<Stitched<'_>, StitchError> {
    let mut outgoing = Half::gather(&recording.frames, Side::Outgoing);
    let mut incoming = Half::gather(&recording.frames, Side::Incoming);
    if !outgoing.present && !incoming.present {
        return Err(StitchError::Empty);
    }
    let mut state = Stitching::default();

    let flight = state.flight(&mut outgoing)?;
    let handover = handover(&outgoing, &incoming, &flight, &state.sightings);
    incoming.layouts = incoming.same_build(&outgoing);
    state.boot(&incoming);
    let hz = state.frequency(&outgoing, &incoming)?;
    state.vcpus(&flight, &incoming, hz);
    state.counted_incoming(&incoming);
    state.log(Side::Incoming, &incoming, hz);
    state.log(Side::Outgoing, &outgoing, hz);
    state.stamps(&incoming);
    state.sightings.sort_by_key(|sighting| sighting.at.ticks);

    for (probe, misses) in outgoing.missed.iter().chain(&incoming.missed) {
        state.lost(probe, *misses, "calls the probe could not show");
    }
    state.join(&outgoing, &incoming)?;
    state.notes.extend(outgoing.notes.iter().chain(&incoming.notes).cloned());
    let Stitching { sightings, vcpus, counted, cost, hz_error_ppb, log, complaints, loss, notes, .. } = state;
    Ok(Stitched {
        outgoing,
        incoming,
        handover,
        sightings,
        vcpus,
        counted,
        cost,
        hz,
        hz_error_ppb,
        log,
        complaints,
        loss,
        notes,
    })
}

/// What became of the flight recorder, judged by what came out of it.
fn handover(outgoing: &Half, incoming: &Half, flight: &Trace, sightings: &[Sighting]) -> Handover {
    if !incoming.present || sightings.iter().any(|sighting| sighting.side == Side::Outgoing) {
        return if flight.events.is_empty() { Handover::Absent } else { Handover::Intact };
    }
    let wanted =
        |half: &Half| half.kernel.as_ref().is_some_and(|k| k.cmdline.contains("trace_instance=boot_map"));
    if wanted(outgoing) || wanted(incoming) && !outgoing.present {
        Handover::Rejected
    } else {
        Handover::Absent
    }
}

/// The pieces while they come together.
#[derive(Debug, Default)]
struct Stitching {
    sightings: Vec<Sighting>,
    vcpus: Vcpus,
    /// Records about vCPUs of the outgoing and of the incoming kernel.
    vcpu_records: [Vec<(VcpuRecord, Moment)>; 2],
    /// What was counted where it ran, in the outgoing and in the incoming kernel.
    counted: [Counted; 2],
    /// What their programs took.
    cost: [Cost; 2],
    /// Log lines that the boot tracer stamped, in order.
    stamped_lines: Vec<StampedLine>,
    /// Frequency that the flight recorder's anchors carry.
    carried_hz: Option<Hz>,
    hz_error_ppb: u64,
    log: Vec<LogLine>,
    complaints: Vec<Complaint>,
    loss: Loss,
    notes: Vec<String>,
    /// The flight recorder's own run id, if it carried one.
    carried_run: Option<String>,
}

impl Stitching {
    /// Reads the flight recorder, in two steps: its own description first (trace markers have the same
    /// id in every kernel), then everything with the formats found there.
    fn flight(&mut self, outgoing: &mut Half) -> Result<Trace, StitchError> {
        let buffer = outgoing.buffers.get("flight").cloned().unwrap_or_default();
        let description = self.decode(&buffer, outgoing);
        let lines: Vec<&str> = printed(&description).map(|(_, text)| text).collect();
        let carried = carrier::assemble(lines.iter().copied());
        self.lost(
            "description",
            carried.missing.len() as u64 + carried.malformed,
            "damaged in the flight recorder",
        );
        for body in carried.bodies {
            if let crate::recording::Body::Run(run) = &body {
                self.carried_run = Some(run.id.clone());
            }
            outgoing.take(body);
        }
        let buffer = outgoing.buffers.get("flight").cloned().unwrap_or_default();
        let flight = self.decode(&buffer, outgoing);
        if flight.events.is_empty() {
            return Ok(flight);
        }
        self.count_trace_loss(&flight);
        self.count_streamed(&flight);
        self.marks(Side::Outgoing, &flight);
        let anchors = clocks::anchors(printed(&flight));
        self.carried_hz = clocks::last_hz(&anchors);
        match clocks::ring(&anchors, outgoing.kernel.as_ref().and_then(|kernel| kernel.tsc_hz)) {
            Ok(clock) => {
                self.notes.extend(clock.notes.iter().cloned());
                let decoded = decode::sightings(Side::Outgoing, outgoing, &flight, |ts| clock.moment(ts));
                let lost = probe_record::lost(decoded.seqs.iter().copied());
                self.loss.flight_recorder =
                    Some(lost + flight.loss.missed_events + flight.loss.missed_unknown);
                self.lost("flight recorder", decoded.nameless, "no name for the function");
                self.sightings.extend(decoded.sightings);
                let [vcpus, _] = &mut self.vcpu_records;
                *vcpus = decoded.vcpus;
                self.counted_outgoing(outgoing, &decoded.hot, &decoded.costs);
            }
            Err(error) => {
                self.notes.push(format!("the flight recorder's clock cannot be tied to the TSC: {error}"))
            }
        }
        Ok(flight)
    }

    /// Reads the incoming kernel's boot tracer.
    fn boot(&mut self, incoming: &Half) {
        let Some(buffer) = incoming.buffers.get("boot") else { return };
        let boot = self.decode(buffer, incoming);
        self.count_trace_loss(&boot);
        self.count_streamed(&boot);
        self.marks(Side::Incoming, &boot);
        let decoded = if buffer.clock == "x86-tsc" {
            let console = boot.events.iter().filter_map(|event| match &event.event {
                TraceKind::Console { text } => {
                    let pid = u32::try_from(event.pid).ok();
                    Some(StampedLine { text: text.clone(), tsc: event.ts, cpu: event.cpu, pid })
                }
                _ => None,
            });
            self.stamped_lines = console.collect();
            decode::sightings(Side::Incoming, incoming, &boot, Moment::exact)
        } else {
            let tsc_hz = incoming.kernel.as_ref().and_then(|kernel| kernel.tsc_hz);
            match clocks::ring(&clocks::anchors(printed(&boot)), tsc_hz) {
                Ok(clock) => decode::sightings(Side::Incoming, incoming, &boot, |ts| clock.moment(ts)),
                Err(error) => {
                    self.notes.push(format!(
                        "the boot tracer's clock is {}, which cannot be tied to the TSC ({error}); put \
                         trace_clock=x86-tsc on the incoming kernel's command line",
                        buffer.clock
                    ));
                    return;
                }
            }
        };
        // Here the programs' own count tells what is missing behind the last record as well.
        let begun =
            incoming.coverage.as_ref().and_then(|coverage| coverage.records).map_or(0, |(begun, _)| begun);
        let unseen = begun.saturating_sub(decoded.seqs.len() as u64);
        let lost = probe_record::lost(decoded.seqs.iter().copied()).max(unseen);
        let dropped = incoming.dropped("boot");
        let missed = boot.loss.missed_events.max(dropped) + boot.loss.missed_unknown;
        self.loss.boot_trace = Some(lost + missed);
        self.lost("boot tracer", decoded.nameless, "no name for the function, or no probe for it");
        self.sightings.extend(decoded.sightings);
        let [_, incoming] = &mut self.vcpu_records;
        *incoming = decoded.vcpus;
    }

    /// vCPUs: what they wrote needs the frequency of the axis.
    fn vcpus(&mut self, flight: &Trace, incoming: &Half, hz: Hz) {
        let [before, after] = mem::take(&mut self.vcpu_records);
        let lines = printed(flight).map(|(_, line)| line);
        if let Err(error) = self.vcpus.outgoing(&before, lines, hz) {
            self.notes.push(format!("the vCPUs' clock cannot be tied to the TSC: {error}"));
        }
        self.vcpus.incoming(&after, hz);
        let refused = incoming.coverage.as_ref().and_then(|coverage| coverage.refused_vcpu_events);
        for refused in [self.vcpus.refused, refused.unwrap_or(0)] {
            self.lost("vcpu-exit", refused, "events of vCPUs that found no room in the programs' maps");
        }
    }

    /// What the outgoing kernel wrote of calls that it counted.
    fn counted_outgoing(&mut self, outgoing: &Half, hot: &[HotRecord], costs: &[CostRecord]) {
        let ([cost, _], [all, _]) = (&mut self.cost, &mut self.counted);
        *cost = counted::cost(costs);
        match counted::counted(hot) {
            Some((found, missing)) => {
                *all = found;
                self.count_lost(0, missing);
            }
            None if outgoing.is_counting() => {
                // How many calls those were is not known.
                self.lost("counted functions", 1, "not written out by the outgoing kernel");
            }
            None => {}
        }
    }

    /// What user space read in the incoming kernel.
    fn counted_incoming(&mut self, incoming: &Half) {
        let [_, cost] = &mut self.cost;
        cost.calls = incoming.coverage.as_ref().and_then(|coverage| coverage.program_stats);
        if let Some(found) = &incoming.counted {
            cost.hot = Some(found.sampled);
            let [_, all] = &mut self.counted;
            all.clone_from(found);
            self.count_lost(1, 0);
        } else if incoming.is_counting() {
            self.lost("counted functions", 1, "could not be read in the incoming kernel");
        }
    }

    /// Calls that were counted on one side and of which something is missing.
    fn count_lost(&mut self, side: usize, missing_shares: u64) {
        let lost = self.counted.get(side).map_or(0, counted::lost);
        self.loss.hot = Some(self.loss.hot.unwrap_or(0).saturating_add(lost).saturating_add(missing_shares));
    }

    /// VMMs' marks: they carry the TSC themselves.
    fn marks(&mut self, side: Side, trace: &Trace) {
        for mark in printed(trace).filter_map(|(_, line)| Mark::parse(line)) {
            let (at, pid) = (Moment::exact(mark.tsc), Some(mark.pid));
            self.sightings.push(Sighting { side, at, cpu: None, pid, what: What::Mark { mark } });
        }
    }

    /// Frequency of the axis: the outgoing kernel's, which has run long enough to know it.
    fn frequency(&mut self, outgoing: &Half, incoming: &Half) -> Result<Hz, StitchError> {
        let of = |half: &Half| half.kernel.as_ref().and_then(|kernel| Hz::new(kernel.tsc_hz?));
        let (before, after) = (self.carried_hz.or(of(outgoing)), of(incoming));
        if let (Some(before), Some(after)) = (before, after) {
            let difference = u128::from(before.get().abs_diff(after.get()));
            let ppb = difference * 1_000_000_000 / u128::from(before.get());
            self.hz_error_ppb = u64::try_from(ppb).unwrap_or(u64::MAX);
        }
        before.or(after).ok_or(StitchError::NoFrequency)
    }

    /// Puts one kernel's log on the axis.
    fn log(&mut self, side: Side, half: &Half, hz: Hz) {
        let Some(kmsg) = half.kmsg.map(crate::evidence::kmsg::parse) else { return };
        let lost = self.loss.kmsg.get_or_insert(0);
        *lost += kmsg.lost + kmsg.overwritten + kmsg.malformed;
        // The outgoing kernel's log is read only when a kexec failed, and then for its words: nothing
        // ties its clock.
        let clock = match side {
            Side::Outgoing => None,
            Side::Incoming => match clocks::log(&kmsg.lines, &self.stamped_lines, half, hz) {
                Ok(clock) => Some(clock),
                Err(error) => {
                    self.notes.push(format!("the kernel log's clock cannot be tied to the TSC: {error}"));
                    None
                }
            },
        };
        let at = |line| clock.as_ref().and_then(|clock| clock.moment(line));
        if let Some(clock) = &clock {
            let epoch = clock.epoch();
            self.sightings.push(Sighting { side, at: epoch, cpu: None, pid: None, what: What::ClockEpoch });
        }
        for line in kmsg.lines.iter().filter(|line| line.is_kernel()) {
            let moment = at(line);
            self.complaints.extend(logs::complaint(side, line, moment));
            if side == Side::Incoming {
                self.log.push(LogLine { at: moment, level: line.level, text: line.text.clone() });
            }
            if let Some(at) = moment {
                let what = What::Log { text: line.text.clone() };
                let pid = clock.as_ref().and_then(|clock| clock.task(line));
                self.sightings.push(Sighting { side, at, cpu: None, pid, what });
            }
        }
        for line in &kmsg.lines {
            if let Some(Fact::TscUnstable { reason }) = Fact::of(line) {
                self.notes
                    .push(format!("the kernel calls its TSC unstable ({reason}): do not trust these times"));
            }
        }
    }

    /// Image stamps.
    fn stamps(&mut self, incoming: &Half) {
        let Some(stamps) = incoming.boot_params.map(ImageStamps::parse) else { return };
        let stamps =
            [(stamps.entry_tsc, What::StampEntry), (stamps.decompressed_tsc, What::StampDecompressed)];
        for (ticks, what) in stamps {
            if let Some(ticks) = ticks {
                let at = Moment::exact(ticks);
                self.sightings.push(Sighting { side: Side::Incoming, at, cpu: None, pid: None, what });
            }
        }
    }

    /// Refuses halves of different live updates, and time that runs backwards.
    fn join(&self, outgoing: &Half, incoming: &Half) -> Result<(), JoinError> {
        clocks::check_join(outgoing, incoming, self.carried_run.as_deref(), &self.sightings)
    }

    fn decode(&mut self, buffer: &TraceBuffer, half: &Half) -> Trace {
        if half.pages_of(&buffer.name).next().is_none() {
            return Trace::default();
        }
        trace::decode(buffer, half.pages_of(&buffer.name)).unwrap_or_else(|error| {
            self.notes.push(format!("trace buffer {}: {error}", buffer.name));
            Trace::default()
        })
    }

    fn count_trace_loss(&mut self, trace: &Trace) {
        let unknown = &trace.loss.unknown;
        let ids: Vec<String> = unknown.keys().take(4).map(u16::to_string).collect();
        let reason = format!("event id without a format, such as {}", ids.join(", "));
        self.lost("trace records", unknown.values().sum(), &reason);
        self.lost("trace records", trace.loss.short_records, "shorter than their format");
        self.lost("trace pages", trace.loss.damaged_pages, "damaged");
        self.notes.extend(trace.loss.problems.iter().cloned());
    }

    /// What the live stream of this kernel missed, if there was one.
    fn count_streamed(&mut self, trace: &Trace) {
        if let Some(lost) = carrier::streamed_lost(printed(trace).map(|(_, line)| line)) {
            let before = self.loss.streamed.unwrap_or(0);
            self.loss.streamed = Some(before.saturating_add(lost));
        }
    }

    fn lost(&mut self, probe: &str, count: u64, reason: &str) {
        if count > 0 {
            self.loss.per_probe.push(ProbeLoss { probe: probe.to_owned(), count, reason: reason.to_owned() });
        }
    }
}

/// Lines written to a buffer's `trace_marker`, with their time.
fn printed(trace: &Trace) -> impl Iterator<Item = (u64, &str)> {
    trace.events.iter().filter_map(|event| match &event.event {
        TraceKind::Print { text } => Some((event.ts, text.trim_end_matches('\n'))),
        _ => None,
    })
}
