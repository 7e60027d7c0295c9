//! What a reader of a stream knows: pure, no I/O, and no clock but the one it is told.
//!
//! Everything kept is bounded; what does not fit is counted.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use profiler_report::{
    catalogue::CATALOGUE,
    clock::Hz,
    recording::Side,
    report::{Report, provisional},
    stitch::{Moment, Sighting, Source, What},
    timeline::Call,
};

use super::message::{Counters, Hello, INITCALL, LossPlace, Message, Place};

/// Calls kept of one kernel.
const MAX_CALLS: usize = 200_000;
/// Milestones kept of one kernel that are no calls.
const MAX_MARKS: usize = 10_000;
/// An agent that says nothing for this long is silent: it counts four times a second.
pub(crate) const SILENCE: Duration = Duration::from_millis(1500);
/// Ticks may be this far off what the reader's own clock expects before it is set again.
const SYNC_NS: u64 = 20_000_000;

/// What one agent has told.
#[derive(Debug)]
pub struct Half {
    /// Who it is.
    pub hello: Hello,
    /// Where it stands.
    pub counters: Counters,
    /// What it misses.
    pub losses: BTreeMap<LossPlace, u64>,
    /// Why it ended, if it said so.
    pub bye: Option<String>,
    calls: Vec<Call>,
    open: HashMap<(String, Option<u32>), Vec<usize>>,
    marks: Vec<Sighting>,
}

/// The blackout's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Guests run.
    NotBegun,
    /// It runs.
    Running {
        /// Since the window began.
        elapsed_ns: u64,
    },
    /// The incoming kernel has finished every session; the report is not there yet.
    Finished {
        /// The window, as far as the stream tells.
        elapsed_ns: u64,
    },
    /// The report's word.
    Reported {
        /// The window.
        duration_ns: u64,
        /// Its error.
        error_ns: u64,
    },
}

/// What a reader knows.
#[derive(Debug, Default)]
pub struct State {
    /// The outgoing kernel's agent.
    pub outgoing: Option<Half>,
    /// The incoming kernel's agent.
    pub incoming: Option<Half>,
    /// The report, with the number of spans that were left out of it.
    pub report: Option<(Box<Report>, u64)>,
    /// Messages that did not fit here.
    pub dropped: u64,
    /// Lines that were no message.
    pub malformed: u64,
    /// When the agent was last heard, on the reader's clock.
    pub heard_at: Option<Duration>,
    /// Which agent speaks.
    speaks: Option<Place>,
    /// A TSC reading and when it was heard, on the reader's clock.
    sync: Option<(Duration, u64)>,
}

impl State {
    /// Takes a message that was heard at `now`, on any clock of the reader's that does not stop.
    pub fn apply(&mut self, message: Message, now: Duration) {
        self.heard_at = Some(now);
        match message {
            Message::Hello(hello) => self.hello(hello, now),
            Message::Milestone { kernel, name, tsc, error_ticks } => {
                self.mark(kernel, &name, tsc, error_ticks)
            }
            Message::Begin { kernel, name, kind, subject, tsc, cpu, pid, comm } => {
                let call = Call {
                    side: kernel.into(),
                    name,
                    kind,
                    subject,
                    enter: Moment::exact(tsc),
                    exit: None,
                    cpu,
                    pid,
                    comm,
                    retval: None,
                    source: Source::Ebpf,
                    carried: None,
                    critical: false,
                };
                self.begin(kernel, call);
            }
            Message::End { kernel, name, tsc, pid, retval } => {
                if let Some(half) = self.half(kernel) {
                    half.end(&name, pid, tsc, retval);
                }
            }
            Message::Counters(counters) => {
                self.set_clock(counters.tsc, now);
                if let Some(half) = self.speaker() {
                    half.counters = counters;
                }
            }
            Message::Loss { place, count } => {
                if let Some(half) = self.speaker() {
                    half.losses.insert(place, count);
                }
            }
            Message::Report { report, spans_left_out } => self.report = Some((report, spans_left_out)),
            Message::Bye { reason } => {
                if let Some(half) = self.speaker() {
                    half.bye = Some(reason);
                }
            }
            Message::Unknown => self.dropped += 1,
        }
    }

    /// The run that is followed.
    pub fn run(&self) -> Option<&str> {
        let half = self.incoming.as_ref().or(self.outgoing.as_ref())?;
        Some(&half.hello.run)
    }

    /// Ticks in a second.
    pub fn hz(&self) -> Option<Hz> {
        let hz = |half: &Option<Half>| half.as_ref().and_then(|half| Hz::new(half.hello.tsc_hz?));
        hz(&self.outgoing).or_else(|| hz(&self.incoming))
    }

    /// The blackout's clock at `now`.
    pub fn clock(&self, now: Duration) -> Clock {
        if let Some((report, _)) = &self.report {
            return report.window.as_ref().map_or(Clock::NotBegun, |window| Clock::Reported {
                duration_ns: window.duration_ns,
                error_ns: window.error_ns,
            });
        }
        let (Some(hz), Some(start)) = (self.hz(), self.start(now)) else { return Clock::NotBegun };
        if let Some(end) = self.incoming.as_ref().and_then(Half::finished) {
            return Clock::Finished { elapsed_ns: hz.ns(end.saturating_sub(start)) };
        }
        let elapsed_ns = hz.ns(self.tsc(now).unwrap_or(start).saturating_sub(start));
        Clock::Running { elapsed_ns }
    }

    /// For how long nothing has been heard, if that is longer than an agent is silent.
    pub fn silent(&self, now: Duration) -> Option<Duration> {
        let over = self.report.is_some() || self.speaker_ref().is_some_and(|half| half.bye.is_some());
        let silence = now.saturating_sub(self.heard_at?);
        (!over && silence > SILENCE).then_some(silence)
    }

    /// The report, or what it will be as far as it can be told now.
    pub fn picture(&self) -> Option<Report> {
        if let Some((report, _)) = &self.report {
            return Some(report.as_ref().clone());
        }
        let hz = self.hz()?;
        let halves = || self.outgoing.iter().chain(&self.incoming);
        let calls: Vec<Call> = halves().flat_map(|half| half.calls.iter().cloned()).collect();
        let marks: Vec<Sighting> = halves().flat_map(|half| half.marks.iter().cloned()).collect();
        let mut report = provisional::build(&calls, &marks, hz);
        let kernel = |half: &Option<Half>| half.as_ref().map(|half| provisional::kernel(&half.hello.release));
        report.outgoing = kernel(&self.outgoing);
        report.incoming = kernel(&self.incoming);
        if let Some(half) = self.outgoing.as_ref().or(self.incoming.as_ref()) {
            report.run.id.clone_from(&half.hello.run);
            report.run.host.clone_from(&half.hello.host);
            report.run.cpus = half.hello.cpus;
        }
        report.loss.streamed = Some(self.lost());
        Some(report)
    }

    /// Everything that is missing of the stream, anywhere on its way here.
    pub fn lost(&self) -> u64 {
        let halves = self.outgoing.iter().chain(&self.incoming);
        let told: u64 = halves.flat_map(|half| half.losses.values()).sum();
        told.saturating_add(self.dropped).saturating_add(self.malformed)
    }

    /// Where the window begins: the last call of reboot(2), or what stands for it; at the earliest.
    fn start(&self, now: Duration) -> Option<u64> {
        use profiler_report::catalogue::Milestone;
        let window = CATALOGUE.host_window.as_ref()?;
        let outgoing = self.outgoing.as_ref()?;
        let begins = |milestone: &Milestone| {
            let Milestone::Enter(name) = milestone else { return None };
            outgoing.calls.iter().rfind(|call| call.name == *name).map(|call| call.enter.ticks)
        };
        // An agent that was cut off before it could tell: the window began after its last sign of life.
        let is_cut_off = self.incoming.is_some() || self.silent(now).is_some();
        let cut_off = Some(outgoing.counters.tsc).filter(|tsc| is_cut_off && *tsc > 0);
        window.begin.iter().find_map(begins).or(cut_off)
    }

    /// TSC at `now`, as far as it can be told.
    fn tsc(&self, now: Duration) -> Option<u64> {
        let (at, tsc) = self.sync?;
        let since = u64::try_from(now.saturating_sub(at).as_nanos()).unwrap_or(u64::MAX);
        Some(tsc.saturating_add(self.hz()?.ticks(since)))
    }

    fn set_clock(&mut self, tsc: u64, now: Duration) {
        let off = self
            .tsc(now)
            .zip(self.hz())
            .map(|(expected, hz)| (expected < tsc, hz.ns(expected.abs_diff(tsc))));
        // A message is late, never early: a clock that is ahead of ours is right.
        if off.is_none_or(|(behind, ns)| behind || ns > SYNC_NS) {
            self.sync = Some((now, tsc));
        }
    }

    fn hello(&mut self, hello: Hello, now: Duration) {
        if self.run().is_some_and(|run| run != hello.run) {
            *self = Self { heard_at: Some(now), malformed: self.malformed, ..Self::default() };
        }
        let (place, tsc) = (hello.kernel, hello.tsc);
        // The same agent again: it begins from the start of what it has.
        *self.slot(place) = Some(Half {
            hello,
            counters: Counters::default(),
            losses: BTreeMap::new(),
            bye: None,
            calls: Vec::new(),
            open: HashMap::new(),
            marks: Vec::new(),
        });
        self.speaks = Some(place);
        self.set_clock(tsc, now);
    }

    fn slot(&mut self, place: Place) -> &mut Option<Half> {
        match place {
            Place::Outgoing => &mut self.outgoing,
            Place::Incoming => &mut self.incoming,
        }
    }

    fn half(&mut self, place: Place) -> Option<&mut Half> {
        if self.slot(place).is_none() {
            self.dropped += 1;
        }
        self.slot(place).as_mut()
    }

    fn speaker(&mut self) -> Option<&mut Half> {
        self.half(self.speaks?)
    }

    fn speaker_ref(&self) -> Option<&Half> {
        match self.speaks? {
            Place::Outgoing => self.outgoing.as_ref(),
            Place::Incoming => self.incoming.as_ref(),
        }
    }

    fn begin(&mut self, kernel: Place, call: Call) {
        let fits = self.half(kernel).is_some_and(|half| half.begin(call));
        self.dropped += u64::from(!fits);
    }

    fn mark(&mut self, kernel: Place, name: &str, tsc: u64, error_ticks: u64) {
        use profiler_report::catalogue::Milestone;
        let side = Side::from(kernel);
        let what = match name.parse() {
            Ok(Milestone::Log(text)) => What::Log { text },
            Ok(Milestone::ClockEpoch) => What::ClockEpoch,
            Ok(Milestone::StampEntry) => What::StampEntry,
            Ok(Milestone::StampDecompressed) => What::StampDecompressed,
            // Of a newer version; calls come as calls.
            _ => {
                self.dropped += 1;
                return;
            }
        };
        let at = Moment { ticks: tsc, error_ticks };
        let fits = self.half(kernel).is_some_and(|half| {
            let fits = half.marks.len() < MAX_MARKS;
            if fits {
                half.marks.push(Sighting { side, at, cpu: None, pid: None, what });
            }
            fits
        });
        self.dropped += u64::from(!fits);
    }
}

impl Half {
    fn begin(&mut self, call: Call) -> bool {
        let fits = self.calls.len() < MAX_CALLS;
        if fits {
            self.open.entry((call.name.clone(), call.pid)).or_default().push(self.calls.len());
            self.calls.push(call);
        }
        fits
    }

    fn end(&mut self, name: &str, pid: Option<u32>, tsc: u64, retval: Option<i64>) {
        // Without its begin, it began before anybody looked.
        let Some(calls) = self.open.get_mut(&(name.to_owned(), pid)) else { return };
        if let Some(call) = calls.pop().and_then(|index| self.calls.get_mut(index)) {
            call.exit = Some(Moment::exact(tsc));
            call.retval = retval;
        }
        if calls.is_empty() {
            self.open.remove(&(name.to_owned(), pid));
        }
    }

    /// Calls that are under way, the latest last.
    pub fn under_way(&self) -> Vec<&Call> {
        let mut open: Vec<usize> = self.open.values().flatten().copied().collect();
        open.sort_unstable();
        open.into_iter().filter_map(|index| self.calls.get(index)).collect()
    }

    /// The last calls that ended, the latest first; initcalls are not among them.
    pub fn latest(&self, most: usize) -> Vec<&Call> {
        let ended = self.calls.iter().rev().filter(|call| call.exit.is_some() && call.kind != INITCALL);
        ended.take(most).collect()
    }

    /// When the last session was finished, if every one that was retrieved is.
    fn finished(&self) -> Option<u64> {
        let ended = |name: &'static str| {
            let ended = self.calls.iter().filter(move |call| call.name == name);
            ended.filter(|call| call.retval.is_none_or(|retval| retval >= 0)).filter_map(|call| call.exit)
        };
        let retrieved = ended("session-retrieve").count();
        let finishes: Vec<u64> = ended("session-finish").map(|at| at.ticks).collect();
        let all = retrieved > 0 && finishes.len() >= retrieved;
        all.then(|| finishes.into_iter().max()).flatten()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
