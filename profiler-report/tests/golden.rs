//! Reports computed again from recordings of real live updates (`fixtures/`).

use std::{fs, path::PathBuf};

use profiler_report::{
    recording::{
        Body, Frame, Recording, Side,
        frame::{Kernel, RtcReading},
        read,
    },
    render,
    report::{self, Outcome, Report},
};

const FIXTURES: [&str; 7] =
    ["plain", "guest", "host", "stamped", "other-kernel", "freeze-fails", "no-flight-recorder"];

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(format!("{name}.blackout"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recording(name: &str) -> Recording {
    read(&bytes(name)).expect("a fixture is a recording")
}

fn build(recording: &Recording) -> Report {
    report::build(recording).expect("a fixture makes a report")
}

#[test]
fn text_reports() {
    for name in FIXTURES {
        insta::assert_snapshot!(name, render::text::render(&build(&recording(name))));
    }
}

#[test]
fn json_reports() {
    for name in FIXTURES {
        let mut report = build(&recording(name));
        // The hundreds of initcalls say nothing that a few do not.
        for phase in &mut report.phases {
            phase.spans.truncate(4);
        }
        insta::assert_json_snapshot!(format!("{name}.json"), report);
    }
}

#[test]
fn every_report_fits_the_schema() {
    let schema = report::schema();
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    for name in FIXTURES {
        let json = serde_json::to_value(build(&recording(name))).expect("a report is JSON");
        let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn phases_add_up_to_the_window_exactly() {
    for name in FIXTURES {
        let report = build(&recording(name));
        let sum: u64 = report.phases.iter().map(|phase| phase.duration_ns).sum();
        assert_eq!(sum, report.window.expect("a window").duration_ns, "{name}");
    }
}

/// A recording cut anywhere gives a report of what is left, or says that there is nothing; it never
/// calls a cut one complete.
#[test]
fn a_recording_cut_anywhere_tells_the_truth() {
    let whole = bytes("plain");
    // Every byte of the header and around each frame's border, and a stride over the rest.
    let cuts = (0..whole.len()).filter(|at| *at < 64 || at % 97 == 0 || *at > whole.len() - 64);
    for at in cuts {
        let Ok(recording) = read(&whole[..at]) else { continue };
        if let Ok(report) = report::build(&recording) {
            assert_ne!(report.outcome, Outcome::Complete, "cut at byte {at}");
        }
    }
}

#[test]
fn flipped_bits_never_panic_and_are_told() {
    let whole = bytes("plain");
    for at in (16..whole.len()).step_by(61) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let recording = read(&flipped).expect("the header is sound");
        assert!(!recording.damage.is_empty(), "byte {at}");
        if let Ok(report) = report::build(&recording) {
            assert!(report.loss.recording > 0, "byte {at}");
        }
    }
}

fn half(name: &str, side: Side) -> Vec<Frame> {
    recording(name).frames.into_iter().filter(|frame| frame.side == side).collect()
}

fn refused(frames: Vec<Frame>) -> String {
    let recording = Recording { frames, damage: Vec::new() };
    match report::build(&recording) {
        Ok(_) => panic!("halves that do not belong together made a report"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn halves_of_two_live_updates_are_refused() {
    let mut frames = half("plain", Side::Outgoing);
    frames.extend(half("stamped", Side::Incoming));
    let message = refused(frames);
    assert!(message.contains("of run"), "{message}");
}

#[test]
fn a_flight_recorder_of_another_run_is_refused() {
    let carries = |frame: &Frame| matches!(frame.body, Body::TracePages { .. } | Body::TraceBuffer(_));
    let mut frames: Vec<Frame> =
        half("plain", Side::Outgoing).into_iter().filter(|frame| !carries(frame)).collect();
    frames.extend(half("stamped", Side::Outgoing).into_iter().filter(carries));
    frames.extend(half("plain", Side::Incoming));
    let message = refused(frames);
    assert!(message.contains("of run"), "{message}");
}

#[test]
fn a_time_stamp_counter_that_was_reset_is_refused() {
    let mut frames = recording("plain").frames;
    for frame in &mut frames {
        if let (Side::Incoming, Body::Kernel(kernel)) = (frame.side, &mut frame.body) {
            // As if a second of realtime had passed for a day of ticks.
            let (tsc, realtime_ns) = kernel.realtime_at_tsc.expect("both clocks");
            kernel.realtime_at_tsc = Some((tsc, realtime_ns + 86_400_000_000_000));
        }
    }
    let message = refused(frames);
    assert!(message.contains("realtime"), "{message}");
}

/// Gives both kernels a reading of the RTC where they read the realtime clock, the incoming one's so much ahead.
fn with_rtc(frames: &mut [Frame], ahead: u64) {
    for frame in frames {
        if let Body::Kernel(Kernel { realtime_at_tsc: Some((tsc, realtime_ns)), rtc, .. }) = &mut frame.body {
            let seconds = *realtime_ns / 1_000_000_000 + if frame.side == Side::Incoming { ahead } else { 0 };
            *rtc = Some(RtcReading { name: "rtc_cmos 00:04".into(), before: *tsc, seconds, after: *tsc });
        }
    }
}

#[test]
fn the_rtc_decides_whether_the_time_stamp_counter_ran_on() {
    let mut frames = recording("plain").frames;
    with_rtc(&mut frames, 6);
    assert!(refused(frames.clone()).contains("RTC"));
    with_rtc(&mut frames, 0);
    for frame in &mut frames {
        if let (Side::Incoming, Body::Kernel(kernel)) = (frame.side, &mut frame.body) {
            // As if the incoming kernel had lost a minute of ticks.
            let (tsc, realtime_ns) = kernel.realtime_at_tsc.expect("both clocks");
            kernel.realtime_at_tsc = Some((tsc, realtime_ns - 60_000_000_000));
        }
    }
    build(&Recording { frames, damage: Vec::new() });
}

#[test]
fn no_evidence_is_no_report() {
    assert!(refused(Vec::new()).contains("no evidence"));
}
