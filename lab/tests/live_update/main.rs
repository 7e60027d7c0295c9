//! Real live updates, run as a user runs them: `blackout-lab` boots a machine, and what it left is read.
//!
//! They are ignored by default, for each takes some ten seconds and needs QEMU:
//! `cargo test -p lab --test live_update -- --ignored --test-threads=1`.
//! `full_*` are the long ones.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, but not in their helpers")]

mod bench;
mod check;
mod deterministic;
mod device;
mod faults;
mod full;
mod guest;
mod host;
mod hot;
mod live;
mod names;
mod overhead;
mod run;
mod terminal;

use lab::result::Stage;
use run::{Run, lab, phase, phase_ids, tree};
use serde_json::Value;

/// Phases of every whole live update, in their order. Others may stand between them.
const PHASES: [&str; 16] = [
    "reboot-call",
    "freeze",
    "notifiers",
    "device-shutdown",
    "stop",
    "dark",
    "early-boot",
    "page-handover",
    "core-init",
    "smp",
    "sched-domains",
    "deferred-pages",
    "initcalls",
    "user-space",
    "restore",
    "finish",
];

#[test]
#[ignore = "boots a virtual machine"]
fn a_live_update_is_measured_whole() {
    let run = lab(&["--json"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    assert_eq!(run.stdout_json(), run.report);
    assert_in_order(&phase_ids(&run.report), &PHASES);

    // Our workload: two sessions of four memfds, and the lab driver's register in the first.
    let restored = tree(phase(&run.report, "restore"));
    let subjects = |name: &str| -> Vec<&str> {
        let named = restored.iter().filter(|span| span["name"] == name);
        named.map(|span| span["subject"].as_str().unwrap()).collect()
    };
    assert_eq!(subjects("session-retrieve"), ["session lab-0", "session lab-1"]);
    let files = [
        ("lab-0", ["0x0", "0x1", "0x2", "0x3", "0x1ab00000000"].as_slice()),
        ("lab-1", ["0x100000000", "0x100000001", "0x100000002", "0x100000003"].as_slice()),
    ];
    let named = |(session, tokens): &(&str, &'static [&str])| -> Vec<String> {
        tokens.iter().map(|token| format!("session {session}, token {token}")).collect()
    };
    assert_eq!(subjects("file-retrieve"), files.iter().flat_map(named).collect::<Vec<_>>());
    for name in ["recording.blackout", "report.json", "report.txt", "result.json", "serial.log"] {
        assert!(run.file(name).metadata().is_ok_and(|file| file.len() > 0), "{name}: {run}");
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn stamps_split_the_dark_stretch() {
    // Deterministic: the last assertion compares two durations.
    let run = lab(&["--stamp", "--deterministic"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    run.check_precise();
    let ids = phase_ids(&run.report);
    assert!(!ids.contains(&"dark"), "{ids:?}");
    let first = ids.iter().position(|id| *id == "relocate").unwrap();
    assert_eq!(ids[first - 1..first + 4], ["stop", "relocate", "decompress", "head", "early-boot"]);
    for id in ["relocate", "decompress", "head"] {
        assert!(phase(&run.report, id)["duration_ns"].as_u64().unwrap() > 0, "{id}: {run}");
    }
    // Unpacking a kernel of 7 MB is most of it, whatever runs it.
    let ns = |id| phase(&run.report, id)["duration_ns"].as_u64().unwrap();
    assert!(ns("decompress") > ns("head"), "{run}");
}

#[test]
#[ignore = "boots a virtual machine"]
fn the_boot_tracer_sees_the_incoming_kernels_start() {
    let run = lab(&["--trace-boot"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let coverage = run.report["coverage"].as_array().unwrap();
    for probe in ["init-freeable", "smp-init", "deferred-begin", "driver-init", "run-init"] {
        let seen = coverage.iter().any(|entry| {
            entry["probe"] == probe
                && entry["method"] == "boot-function"
                && entry["state"] == "fired"
                && entry["hits"].as_u64() > Some(0)
        });
        assert!(seen, "{probe}: {run}");
    }
    assert_eq!(phase(&run.report, "smp")["begins_with"], "enter smp-init");
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_qemu_that_dies_is_no_failed_guest() {
    // This guest does not power off by itself: a signal that arrives late still finds it.
    let run = run::lab_while(&["--guests", "0", "--fault", "hang"], |line, qemu| {
        if line.ends_with("] outgoing up") {
            assert!(qemu.kill(libc::SIGSEGV), "QEMU has ended by itself");
        }
    });
    assert_eq!(run.exit_code, 1, "{run}");
    let (before, _) = run.stderr.split_once("QEMU itself died of signal 11").unwrap();
    // The guest runs on until the signal arrives: a busy machine delivers it in a later stage.
    let message = format!("QEMU itself died of signal 11 after stage `{}`", last_stage(before));
    assert_eq!(run.result()["message"], message, "{run}");
}

/// The last stage among the lines of progress.
fn last_stage(progress: &str) -> Stage {
    let mut stages = progress.lines().filter_map(|line| line.rsplit_once("] ")?.1.parse().ok());
    stages.next_back().unwrap_or(Stage::Started)
}

/// Whether `wanted` are all in `found`, in that order.
fn assert_in_order(found: &[&str], wanted: &[&str]) {
    let mut rest = found.iter();
    for name in wanted {
        assert!(rest.any(|other| other == name), "no {name} in its place among {found:?}");
    }
}

impl Run {
    /// Checks a live update that came through and was seen whole. Nothing here depends on the speed of the machine.
    fn check_complete(&self) {
        self.check_sound();
        let report = &self.report;
        assert_eq!(
            (&report["outcome"], &report["handover"]),
            (&"complete".into(), &"intact".into()),
            "{self}"
        );
        assert_eq!(report["failures"], serde_json::json!([]), "{self}");
        for place in ["flight_recorder", "boot_trace", "kmsg", "recording"] {
            assert_eq!(report["loss"][place], 0, "{place}: {self}");
        }
        assert_eq!(report["loss"]["per_probe"], serde_json::json!([]), "{self}");
        assert_eq!(report["unobserved_ns"], 0, "{self}");
        assert!(report["attributed_ns"].as_u64() > Some(0), "{self}");
        assert!(report["clock"]["error_ns"].as_u64() > Some(0), "{self}");
    }

    /// Checks shares and errors of a deterministic run. In any other run they depend on where the host stops the
    /// emulator: the time of such a stop belongs to whatever the guest was doing.
    fn check_precise(&self) {
        check_precise(&self.report);
    }
}

/// See [`Run::check_precise`].
fn check_precise(report: &Value) {
    assert_eq!(report["run"]["deterministic"], true);
    let figure = |value: &Value| value.as_u64().unwrap();
    let window_ns = figure(&report["window"]["duration_ns"]);
    let attributed_ns = figure(&report["attributed_ns"]);
    assert!(attributed_ns > window_ns / 100 * 95, "{attributed_ns} of {window_ns} ns are attributed");
    let error_ns = figure(&report["clock"]["error_ns"]);
    assert!((1..200_000).contains(&error_ns), "a border has an error of {error_ns} ns");
}
