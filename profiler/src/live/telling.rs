//! The agent's own work: kernel -> messages -> journal. No client has a part in it.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use profiler_common::vcpu::VcpuRecord;
use profiler_mark::ticks;
use profiler_report::{
    catalogue::CATALOGUE,
    evidence::{
        carrier,
        probe_record::{ProbeCall, ProbeRecord},
        trace::{Trace, TraceKind},
    },
    recording::{Body, Side, reader},
    report,
    stitch::{self, Half, Moment},
};
use profiler_watch::{
    message::{Counters, LossPlace, Message},
    shorten,
    tally::Tally,
};

use super::{
    boot_log,
    journal::Journal,
    source::{Log, Source},
    subject::Subject,
};
use crate::agent::{
    AgentError, anchors,
    tracefs::{Instance, Marker},
};

/// How often counters are told: what makes silence mean something.
const PULSE: Duration = Duration::from_millis(250);
/// Pause after a reading: a busy brownout wakes us no more often. The first record after a pause, such as
/// the entry of reboot(2), is read at once.
const PAUSE: Duration = Duration::from_millis(2);

/// An agent that began after the recording was whole looks at it after this long.
const LATE: Duration = Duration::from_secs(10);

/// Size and time of a file; `None` if it is not there.
fn state_of(path: &Path) -> Option<(u64, SystemTime)> {
    let file = fs::metadata(path).ok()?;
    Some((file.len(), file.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
}

/// One telling of one live update, under one kernel.
pub(super) struct Telling<'a> {
    subject: Subject,
    journal: &'a Arc<Journal>,
    source: Source,
    log: Option<Log>,
    /// Where the count of what was missed goes, so that the report has it.
    marker: Option<Marker>,
    names: Half<'static>,
    tally: Tally,
    missed: u64,
    nameless: u64,
    log_lost: u64,
    pulsed: Instant,
    /// When it began; `None` once the recording was looked at whatever its state.
    began: Option<Instant>,
    /// Size and time of the recording when it was last looked at.
    looked_at: Option<(u64, SystemTime)>,
}

impl<'a> Telling<'a> {
    /// Begins: from now on nothing that the instance holds is missed.
    pub fn begin(subject: Subject, journal: &'a Arc<Journal>) -> Result<Self, AgentError> {
        let source = Source::open(subject.side)?;
        let names = Half { symbols: subject.symbols.iter().cloned().collect(), ..Half::default() };
        let (log, marker) = match subject.side {
            Side::Outgoing => (None, Instance::flight_recorder()?),
            Side::Incoming => (Some(Log::open()?), Some(Instance::global()?)),
        };
        let marker = marker.map(|instance| instance.marker()).transpose()?;
        // What is there already is the outgoing half: reading it now would be in the restore's way.
        let looked_at = state_of(&subject.recording);
        let mut telling = Self {
            subject,
            journal,
            source,
            log,
            marker,
            names,
            tally: Tally::default(),
            missed: 0,
            nameless: 0,
            log_lost: 0,
            pulsed: Instant::now(),
            began: Some(Instant::now()),
            looked_at,
        };
        telling.mark_missed();
        telling.pulse();
        Ok(telling)
    }

    /// Tells until the live update is reported, or `stop` is set; says which.
    pub fn all(&mut self, stop: &AtomicBool) -> Result<String, AgentError> {
        loop {
            let waited = self.source.wait(PULSE.saturating_sub(self.pulsed.elapsed()));
            waited.map_err(AgentError::syscall("poll"))?;
            let trace = self.source.read();
            self.tell_trace(&trace);
            self.tell_log();
            if self.pulsed.elapsed() >= PULSE {
                self.pulse();
                if let Some(reason) = self.tell_report() {
                    return Ok(reason);
                }
            }
            if stop.load(Ordering::Relaxed) {
                return Ok("the agent was stopped".to_owned());
            }
            thread::sleep(PAUSE);
        }
    }

    fn tell_trace(&mut self, trace: &Trace) {
        for event in &trace.events {
            // While the call is under way, the file is still open.
            if let TraceKind::BpfPrintk { text } = &event.event
                && let Some(size) = self.size_of_preserved(event.pid, text)
            {
                self.tally.preserving(event.pid, size);
            }
        }
        let decoded = stitch::sightings(self.subject.side, &self.names, trace, Moment::exact);
        let runs = |record: &&(VcpuRecord, Moment)| matches!(record.0, VcpuRecord::FirstEntry { .. });
        if self.subject.side == Side::Incoming {
            self.tally.counters.vcpus += decoded.vcpus.iter().filter(runs).count() as u64;
        }
        self.tally.counters.records += trace.events.len() as u64;
        for message in decoded.sightings.iter().filter_map(Message::of) {
            self.tally.take(&message);
            self.push(&message);
        }
        // The incoming kernel's records name functions by address, and looking the names up costs more
        // than the window can bear: they are the report's. Its boot kprobes have names.
        if self.subject.side == Side::Outgoing {
            self.lose(LossPlace::Nameless, decoded.nameless);
        }
        self.lose(LossPlace::Trace, trace.loss.missed_events + trace.loss.missed_unknown);
    }

    /// Size of the file that this record says is being preserved; `None` inside if it cannot be told.
    fn size_of_preserved(&self, pid: i32, text: &str) -> Option<Option<u64>> {
        let record = ProbeRecord::parse(text)?;
        let ProbeCall::Enter { found, .. } = record.point else { return None };
        let [_, _, fd] = found.args;
        let probe = self.names.symbol(record.ip).and_then(|symbol| CATALOGUE.by_symbol(symbol))?;
        if probe.name != "file-preserve" {
            return None;
        }
        // `luo_preserve_file(file_set, token, fd)` (kernel/liveupdate/luo_file.c, Linux 7.3).
        let file = fs::metadata(format!("/proc/{pid}/fd/{}", fd as i32)).ok();
        Some(file.filter(fs::Metadata::is_file).map(|file| file.len()))
    }

    fn tell_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        let (lines, lost) = log.read();
        if let (false, Some(scale)) = (lines.is_empty(), anchors::scale()) {
            for message in boot_log::milestones(&lines, scale) {
                self.push(&message);
            }
        }
        self.lose(LossPlace::Log, lost);
        // What comes later is no milestone of the boot, and user space is there to tell.
        if lines.iter().any(|line| line.text.contains("as init process")) {
            self.log = None;
        }
    }

    fn lose(&mut self, place: LossPlace, more: u64) {
        let total = match place {
            LossPlace::Trace => &mut self.missed,
            LossPlace::Log => &mut self.log_lost,
            LossPlace::Nameless | LossPlace::Client => &mut self.nameless,
        };
        if more == 0 {
            return;
        }
        *total += more;
        let count = *total;
        self.push(&Message::Loss { place, count });
        if place == LossPlace::Trace {
            self.mark_missed();
        }
    }

    fn mark_missed(&mut self) {
        if let Some(marker) = &mut self.marker {
            // A ring that takes no marks has nothing to report either.
            let _ = marker.write(&carrier::streamed_line(self.missed));
        }
    }

    fn pulse(&mut self) {
        self.pulsed = Instant::now();
        let counters = Counters { tsc: ticks(), ..self.tally.counters.clone() };
        if let Some(line) = Message::Counters(counters).line() {
            self.journal.pulse(line);
        }
    }

    fn push(&self, message: &Message) {
        if let Some(line) = message.line() {
            self.journal.push(line);
        }
    }

    /// Tells the report once the recording's half is whole; why the agent ends then.
    fn tell_report(&mut self) -> Option<String> {
        let path = &self.subject.recording;
        let state = state_of(path)?;
        let late = self.began.is_some_and(|began| began.elapsed() > LATE);
        if late {
            // Once more, then only when it changes.
            self.began = None;
        } else if self.looked_at == Some(state) {
            return None;
        }
        self.looked_at = Some(state);
        let recording = reader::read(&fs::read(path).ok()?).ok()?;
        let side = self.subject.side;
        if !recording.frames.iter().any(|frame| frame.side == side && frame.body == Body::End) {
            return None;
        }
        match report::build(&recording) {
            Ok(report) => {
                self.push(&shorten(report));
                Some("the live update is over and reported".to_owned())
            }
            Err(error) => Some(format!("the live update is over, but there is no report: {error}")),
        }
    }
}
