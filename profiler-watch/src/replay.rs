//! A live update seen again: a recording, or a recorded stream, as messages with their time.

use std::time::Duration;

use profiler_report::{
    clock::Hz,
    recording::Recording,
    report::{self, ReportError},
    stitch::{self, Sighting, What},
    timeline,
};

use super::{
    decode::Decoder,
    message::{Counters, Hello, Message, Place, SCHEMA},
    shorten::shorten,
    state::State,
    tally::Tally,
};

/// A message and when it comes, from the beginning of the replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// When.
    pub at: Duration,
    /// What.
    pub message: Message,
}

/// Agents say where things stand this often.
const PULSE_NS: u64 = 250_000_000;

/// The stream that agents would have told of a recorded live update, had they seen all that the recording
/// holds, with its report at the end.
///
/// # Errors
/// [`ReportError`] where the recording makes no report.
pub fn of_recording(recording: &Recording) -> Result<Vec<Timed>, ReportError> {
    let report = report::build(recording)?;
    let stitched = stitch::stitch(recording)?;
    let hz = stitched.hz;
    let calls = timeline::pair(&stitched.sightings);
    let mut told: Vec<(u64, Place, Message)> = Vec::new();
    for call in &calls {
        let kernel = Place::from(call.side);
        let begin = Message::Begin {
            kernel,
            name: call.name.clone(),
            kind: call.kind.clone(),
            subject: call.subject.clone(),
            tsc: call.enter.ticks,
            cpu: call.cpu,
            pid: call.pid,
            comm: call.comm.clone(),
        };
        told.push((call.enter.ticks, kernel, begin));
        if let Some(exit) = call.exit {
            let (name, pid, retval) = (call.name.clone(), call.pid, call.retval);
            told.push((exit.ticks, kernel, Message::End { kernel, name, tsc: exit.ticks, pid, retval }));
        }
    }
    let is_mark = |sighting: &&Sighting| {
        matches!(
            sighting.what,
            What::Log { .. } | What::ClockEpoch | What::StampEntry | What::StampDecompressed
        )
    };
    let marks = stitched.sightings.iter().filter(is_mark);
    told.extend(marks.filter_map(|mark| Some((mark.at.ticks, mark.side.into(), Message::of(mark)?))));
    // Stable: what begins and ends in one tick stays in its order.
    told.sort_by_key(|(tsc, kernel, _)| (*kernel == Place::Incoming, *tsc));

    let mut messages = Vec::new();
    for kernel in [Place::Outgoing, Place::Incoming] {
        let own: Vec<(u64, Message)> = told
            .iter()
            .filter(|(_, of, _)| *of == kernel)
            .map(|(tsc, _, message)| (*tsc, message.clone()))
            .collect();
        if let (Some((first, _)), Some(half)) = (own.first(), hello(&report, kernel, hz)) {
            messages.push(Message::Hello(Hello { tsc: *first, ..half }));
            pulsed(own, hz, &mut messages);
        }
    }
    messages.push(shorten(report));
    messages.push(Message::Bye { reason: "the recording ends here".to_owned() });
    Ok(timed(messages))
}

/// A recorded stream: lines of it as they were told. Also how many lines are no messages.
pub fn of_stream(bytes: &[u8]) -> (Vec<Timed>, u64) {
    let mut decoder = Decoder::default();
    let mut messages = decoder.feed(bytes);
    messages.extend(decoder.feed(b"\n"));
    (timed(messages), decoder.malformed())
}

fn hello(report: &report::Report, kernel: Place, hz: Hz) -> Option<Hello> {
    let of = match kernel {
        Place::Outgoing => report.outgoing.as_ref(),
        Place::Incoming => report.incoming.as_ref(),
    };
    Some(Hello {
        schema: SCHEMA.to_owned(),
        tool: report.tool.version.clone(),
        kernel,
        run: report.run.id.clone(),
        host: report.run.host.clone(),
        release: of?.release.clone(),
        cpus: report.run.cpus,
        tsc_hz: Some(hz.get()),
        tsc: 0,
        realtime_ns: 0,
    })
}

/// Puts counters between messages, as often as an agent does.
fn pulsed(own: Vec<(u64, Message)>, hz: Hz, messages: &mut Vec<Message>) {
    let mut tally = Tally::default();
    let step = hz.ticks(PULSE_NS).max(1);
    let Some((first, _)) = own.first() else { return };
    let mut next = first.saturating_add(step);
    for (tsc, message) in own {
        // After a long pause one is enough to say how long it was.
        if tsc >= next {
            let last = tsc - (tsc - next) % step;
            messages.push(Message::Counters(Counters { tsc: last, ..tally.counters.clone() }));
            next = last.saturating_add(step);
        }
        tally.take(&message);
        tally.counters.records += 1;
        let ends = matches!(message, Message::End { .. });
        messages.push(message);
        if ends {
            messages.push(Message::Counters(Counters { tsc, ..tally.counters.clone() }));
        }
    }
}

/// Gives messages the time of their TSC; those without one follow the one before. A message of an
/// earlier TSC than the one before it comes with it: time does not run back.
fn timed(messages: Vec<Message>) -> Vec<Timed> {
    let hz = messages.iter().find_map(|message| match message {
        Message::Hello(hello) => Hz::new(hello.tsc_hz?),
        _ => None,
    });
    let first = messages.iter().find_map(Message::tsc).unwrap_or(0);
    let mut now = Duration::ZERO;
    let time = |message: Message| {
        if let (Some(hz), Some(tsc)) = (hz, message.tsc()) {
            now = now.max(Duration::from_nanos(hz.ns(tsc.saturating_sub(first))));
        }
        Timed { at: now, message }
    };
    messages.into_iter().map(time).collect()
}

/// A replay: a place in the messages, and the state that they led to.
#[derive(Debug)]
pub struct Playback {
    messages: Vec<Timed>,
    next: usize,
    /// Where it is.
    pub position: Duration,
    /// Replayed time for each second of the reader's.
    pub speed: f64,
    /// Whether it runs.
    pub playing: bool,
    /// What is known there.
    pub state: State,
}

impl Playback {
    /// A replay that stands at its end: everything is known there.
    pub fn new(messages: Vec<Timed>) -> Self {
        let state = State::default();
        let mut playback =
            Self { messages, next: 0, position: Duration::ZERO, speed: 1.0, playing: false, state };
        playback.seek(playback.length());
        playback
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        self.messages.last().map_or(Duration::ZERO, |last| last.at)
    }

    /// Lets `real` time of the reader's pass.
    pub fn advance(&mut self, real: Duration) {
        if self.playing {
            self.go(self.position.saturating_add(real.mul_f64(self.speed)));
            self.playing = self.position < self.length();
        }
    }

    /// Goes to a place, forward or back.
    pub fn seek(&mut self, to: Duration) {
        if to < self.position {
            (self.next, self.state) = (0, State::default());
        }
        self.go(to);
    }

    /// Plays from here, or from the start if this is the end; or stops.
    pub fn toggle(&mut self) {
        if !self.playing && self.position >= self.length() {
            self.seek(Duration::ZERO);
        }
        self.playing = !self.playing;
    }

    fn go(&mut self, to: Duration) {
        self.position = to.min(self.length());
        while let Some(timed) = self.messages.get(self.next).filter(|timed| timed.at <= self.position) {
            self.state.apply(timed.message.clone(), timed.at);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Clock;
    use profiler_report::recording::read;

    /// The messages of a recording, and the window that its report says; nanoseconds.
    fn plain() -> (Vec<Timed>, u64) {
        let recording = read(include_bytes!("../../fixtures/plain.blackout")).unwrap();
        let window = report::build(&recording).unwrap().window.unwrap();
        (of_recording(&recording).unwrap(), window.duration_ns)
    }

    #[test]
    fn a_recording_played_to_its_end_shows_its_report() {
        let (messages, window_ns) = plain();
        let mut playback = Playback::new(messages);
        let Clock::Reported { duration_ns, .. } = playback.state.clock(playback.position) else { panic!() };
        assert_eq!(duration_ns, window_ns);

        // On the way there are fewer of them, in the same order, and they fill what there is of the window.
        let full = ids(&playback.state.picture().unwrap());
        let mut most = 0;
        for percent in 0..100 {
            playback.seek(playback.length() * percent / 100);
            let report = playback.state.picture().unwrap();
            let mut rest = full.iter();
            assert!(ids(&report).iter().all(|id| rest.any(|other| other == id)), "{:?}", ids(&report));
            most = most.max(report.phases.len());
            let sum: u64 = report.phases.iter().map(|phase| phase.duration_ns).sum();
            assert_eq!(sum, report.window.map_or(0, |window| window.duration_ns));
        }
        assert!(most >= full.len() - 1, "{most}");
    }

    fn ids(report: &report::Report) -> Vec<String> {
        report.phases.iter().map(|phase| phase.id.clone()).collect()
    }

    #[test]
    fn the_clock_runs_through_the_dark_and_ends_at_the_window() {
        let (mut messages, window_ns) = plain();
        messages.retain(|timed| !matches!(timed.message, Message::Report { .. } | Message::Bye { .. }));
        let mut playback = Playback::new(messages);
        playback.seek(Duration::ZERO);
        playback.toggle();
        let (mut last_ns, mut finished_ns) = (0, None);
        while playback.playing {
            playback.advance(Duration::from_millis(10));
            match playback.state.clock(playback.position) {
                Clock::NotBegun => assert_eq!(last_ns, 0),
                Clock::Running { elapsed_ns } => {
                    assert!(elapsed_ns >= last_ns);
                    last_ns = elapsed_ns;
                }
                Clock::Finished { elapsed_ns } => finished_ns = Some(elapsed_ns),
                Clock::Reported { .. } => panic!("no report was told"),
            }
        }
        assert!(last_ns > window_ns / 10 * 9 && last_ns <= window_ns, "{last_ns}");
        assert_eq!(finished_ns, Some(window_ns));
    }

    #[test]
    fn play_at_the_end_starts_over() {
        let mut playback = Playback::new(plain().0);
        assert_eq!(playback.position, playback.length());
        playback.toggle();
        assert!(playback.playing && playback.position.is_zero());
        assert!(matches!(playback.state.clock(playback.position), Clock::NotBegun));
        playback.advance(playback.length());
        assert!(
            !playback.playing && matches!(playback.state.clock(playback.position), Clock::Reported { .. })
        );
    }

    #[test]
    fn a_recorded_stream_is_the_same_again() {
        let (messages, _) = plain();
        let text: String = messages.iter().filter_map(|timed| timed.message.line()).collect();
        assert_eq!(of_stream(text.as_bytes()), (messages, 0));
        assert_eq!(of_stream(b"rubbish\n{\"type\":\"bye\",\"reason\":\"x\"}").1, 1);
    }
}
