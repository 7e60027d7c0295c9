//! Arms the outgoing kernel: afterwards no process is needed until the live update.

use std::path::Path;

use profiler_mark::{
    ticks,
    tracefs::{FLIGHT_RECORDER, RECORD_EVENT},
};
use profiler_report::{
    evidence::carrier::{self, AnchorLine, MonotonicLine},
    recording::{
        Frame, Side,
        frame::{Body, Run},
    },
};
use rustix::time::ClockId;

use super::{
    AgentError, anchors, identity, kmsg,
    probes::{self, Look, Probes},
    state::{self, Recorder},
    tracefs::{Instance, Marker},
};

/// Anchors in one burst: the tightest of them bounds the clock.
const ANCHORS: u32 = 32;
/// Readings of `CLOCK_MONOTONIC` in one burst: likewise.
const MONOTONIC_READINGS: u32 = 4;

/// Arms probes and flight recorder, and begins the recording in `state_dir`: that of the image which is loaded, or
/// of a new run, which an image is then to be loaded for. Gives the run. With `hot`, functions that are called once a
/// page are counted.
pub fn arm(state_dir: &Path, hot: bool) -> Result<Run, AgentError> {
    disarm()?;
    let run = state::next(state_dir)?;
    let recorder = Instance::flight_recorder()?;
    if let Some(recorder) = &recorder {
        recorder.clear()?;
        recorder.set("tracing_on", "1")?;
        // Before the probes: they count from their first hit, and what they count must be there.
        recorder.set(&format!("events/{RECORD_EVENT}/enable"), "1")?;
    }
    let (probes, coverage) = Probes::attach(Side::Outgoing, Look { hot, ..Look::default() }, || ())?;
    let mut bodies = vec![Body::Run(run.clone()), Body::Kernel(identity::kernel(&kmsg::read_all()?))];
    match &recorder {
        Some(recorder) => {
            let events = ["ftrace/print".to_owned(), RECORD_EVENT.to_owned()];
            bodies.push(Body::TraceBuffer(recorder.describe("flight", &events)?.0));
        }
        None => bodies.push(Body::Note {
            text: format!(
                "no flight recorder: the outgoing kernel's part is lost at the kexec; boot it with \
                 reserve_mem=12M:4096:trace trace_instance={FLIGHT_RECORDER}@trace"
            ),
        }),
    }
    // The programs listen in the global buffer too as soon as they are loaded; nobody reads it there.
    Instance::global()?.set(&format!("events/{RECORD_EVENT}/enable"), "0")?;
    bodies.push(Body::Symbols { symbols: probes.symbols });
    bodies.push(Body::Coverage(coverage));
    bodies.push(Body::Anchors(anchors::take()));

    if let Some(recorder) = &recorder {
        let mut marker = recorder.marker()?;
        for chunk in carrier::chunks(&bodies)? {
            marker.write(&chunk)?;
        }
        burst(&mut marker, 0)?;
    }
    let mut frames: Vec<Frame> = bodies.into_iter().map(|body| Frame::bare(Side::Outgoing, body)).collect();
    // In the file only: the flight recorder has no room for it.
    frames.extend(identity::config(Side::Outgoing));
    let mut file = Recorder::create_anew(&state::path(state_dir, &run.id))?;
    file.write(&frames)?;
    file.sync()?;
    state::set_current(&run.id)?;
    Ok(run)
}

/// Takes the probes out again and stops the flight recorder's event.
pub fn disarm() -> Result<(), AgentError> {
    probes::unpin()?;
    if let Some(recorder) = Instance::flight_recorder()? {
        recorder.set(&format!("events/{RECORD_EVENT}/enable"), "0")?;
    }
    Ok(())
}

/// Writes burst number `burst` of anchors: each carries a TSC reading from just before its own write,
/// and the one from just after the write before it, so that every record but the last is bounded on
/// both sides.
pub fn burst(marker: &mut Marker, burst: u32) -> Result<(), AgentError> {
    let scale = anchors::scale();
    let mut previous_tsc_after = 0;
    for seq in 0..=ANCHORS {
        let line = AnchorLine { burst, seq, tsc_before: ticks(), previous_tsc_after, scale };
        marker.write(&line.to_string())?;
        previous_tsc_after = ticks();
    }
    for _ in 0..MONOTONIC_READINGS {
        let before = ticks();
        let monotonic_ns = anchors::nanoseconds(ClockId::Monotonic);
        marker.write(&MonotonicLine { before, monotonic_ns, after: ticks() }.to_string())?;
    }
    Ok(())
}
