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

use run::{Run, lab, phase, phase_ids, tree};

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
    let run = lab(&["--stamp"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
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
fn a_qemu_that_dies_is_no_failed_guest_and_gets_a_second_try() {
    let mut left = 1;
    let once = run::lab_while(&["--guests", "0"], |line, qemu| {
        if left > 0 && line.ends_with("] kexec") {
            left -= 1;
            qemu.kill(libc::SIGSEGV);
        }
    });
    assert_eq!((once.exit_code, left), (0, 0), "{once}");
    assert!(once.stderr.contains("QEMU itself died of signal 11 after stage `kexec`"), "{once}");
    assert!(once.stderr.contains("once more"), "{once}");
    once.check_complete();

    let always = run::lab_while(&["--guests", "0"], |line, qemu| {
        if line.ends_with("] outgoing up") {
            qemu.kill(libc::SIGSEGV);
        }
    });
    assert_eq!(always.exit_code, 1, "{always}");
    assert_eq!(always.stderr.matches("QEMU itself died of signal 11").count(), 2, "{always}");
    assert_eq!(always.result()["message"], "QEMU itself died of signal 11 after stage `outgoing up`");
}

/// Whether `wanted` are all in `found`, in that order.
fn assert_in_order(found: &[&str], wanted: &[&str]) {
    let mut rest = found.iter();
    for name in wanted {
        assert!(rest.any(|other| other == name), "no {name} in its place among {found:?}");
    }
}

impl Run {
    /// What holds for every live update that came through and was seen whole.
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
        let window_ns = report["window"]["duration_ns"].as_u64().unwrap();
        assert!(report["unobserved_ns"].as_u64().unwrap() < window_ns / 200, "{self}");
        // 98 % and more were seen; what is left depends on how busy the machine is.
        assert!(report["attributed_ns"].as_u64().unwrap() > window_ns / 100 * 95, "{self}");
        let error_ns = report["clock"]["error_ns"].as_u64().unwrap();
        assert!((1..200_000).contains(&error_ns), "{error_ns}: {self}");
    }
}
