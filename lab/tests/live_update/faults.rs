//! Live updates that fail on purpose: each is named for what it was.

use crate::check::{check_prediction, need};
use crate::run::{Run, lab, lab_while, note_second_try, phase, phase_ids, tree};
use serde_json::Value;
use std::time::Duration;

/// Seconds of machine time without output that count as a hang here. Between two stages a machine uses some four.
const HANG_S: &str = "60";

/// Token of the lab driver's file (`lab::guest::workload`).
const LAB_TOKEN: &str = "0x1ab00000000";

fn planted(fault: &str) -> Run {
    let run = lab(&["--fault", fault, "--timeout", HANG_S]);
    run.check_sound();
    run
}

/// A live update while another thread holds the kexec lock. That thread releases the lock for an instant between two
/// attempts to load: a live update that meets such an instant goes through, and is repeated.
pub fn busy(live_update: impl Fn() -> Run) -> Run {
    for _ in 0..5 {
        let run = live_update();
        if run.exit_code != 0 {
            return run;
        }
        note_second_try("the kexec lock was free for an instant");
    }
    panic!("the kexec lock is never held")
}

#[test]
#[ignore = "boots a virtual machine"]
fn without_an_image_reboot_refuses() {
    let run = planted("no-image");
    check_refused(&run, libc::EINVAL);
    assert_eq!(phase_ids(&run.report), ["reboot-call"]);
}

#[test]
#[ignore = "boots a virtual machine"]
fn with_the_kexec_lock_taken_reboot_refuses() {
    let run = busy(|| planted("busy"));
    check_refused(&run, libc::EBUSY);
    assert_eq!(phase_ids(&run.report), ["reboot-call"]);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_file_that_refuses_to_freeze_is_named() {
    let run = planted("freeze-fails");
    check_refused(&run, libc::EIO);
    let failure = run.failure("luo_file_freeze");
    assert_eq!((&failure["token"], &failure["errno"]), (&LAB_TOKEN.into(), &libc::EIO.into()), "{run}");
    assert_eq!(phase_ids(&run.report), ["reboot-call", "freeze"]);
    let spans: Vec<&Value> = run.report["phases"].as_array().unwrap().iter().flat_map(tree).collect();
    let frozen = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    // The first session's memfds, then the file that refuses.
    assert_eq!((frozen("memfd-freeze"), frozen("file-freeze")), (4, 1), "{run}");
    assert!(spans.iter().any(|span| span["name"] == "file-freeze" && span["retval"] == -libc::EIO), "{run}");
}

/// `reboot(2)` came back with `errno`: the outgoing kernel goes on, and all of its evidence is there.
fn check_refused(run: &Run, errno: i32) {
    assert_eq!(run.exit_code, 1, "{run}");
    let report = &run.report;
    assert_eq!(report["outcome"], "failed", "{run}");
    assert_eq!(report["incoming"], Value::Null, "{run}");
    assert_eq!(run.failure("reboot(LINUX_REBOOT_CMD_KEXEC)")["errno"], errno, "{run}");
    assert_eq!(report["loss"]["flight_recorder"], 0, "{run}");
    assert_eq!(report["window"]["end"], "reboot(2) came back", "{run}");
    let returned = report["window"]["duration_ns"].as_i64().unwrap();
    for failure in report["failures"].as_array().unwrap() {
        let at_ns = failure["at_ns"].as_i64();
        assert!(
            at_ns.is_none_or(|at_ns| (0..=returned).contains(&at_ns)),
            "{failure} is not in the window: {run}"
        );
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_panic_of_the_incoming_kernel_is_told() {
    let run = planted("panic");
    assert!(
        run.stderr.contains("the incoming kernel crashed after stage `incoming up`: Kernel panic"),
        "{run}"
    );
    check_outgoing_half(&run);
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_hang_of_the_incoming_kernel_is_told() {
    let run = planted("hang");
    assert!(run.stderr.contains("the incoming kernel hung: silent for"), "{run}");
    assert!(run.stderr.contains("after stage `incoming up`"), "{run}");
    check_outgoing_half(&run);
}

/// The incoming kernel left nothing: the report claims nothing of it, and says so.
fn check_outgoing_half(run: &Run) {
    assert_eq!(run.exit_code, 1, "{run}");
    let report = &run.report;
    assert_eq!(report["outcome"], "partial", "{run}");
    assert!(report["outgoing"]["release"].is_string(), "{run}");
    assert_eq!(report["incoming"], Value::Null, "{run}");
    assert_eq!(report["window"], Value::Null, "{run}");
    assert!(run.file("recording.blackout").exists(), "{run}");
    check_says_why(run);
}

#[test]
#[ignore = "boots a virtual machine"]
fn what_was_not_preserved_is_missed() {
    let run = planted("unpreserved");
    let failure = check_not_restored(&run);
    assert!(failure.contains("session `lab-0`, token 0x0: No such file"), "{failure}");
    let retrieve = run.failure("file-retrieve");
    assert_eq!((&retrieve["token"], &retrieve["errno"]), (&"0x0".into(), &libc::ENOENT.into()), "{run}");
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_flipped_byte_is_found() {
    let failure = check_not_restored(&planted("corrupted"));
    // The byte in the middle of 4 MiB.
    assert!(failure.contains("session `lab-0`, token 0x0: the byte at offset 0x200000 is"), "{failure}");
}

/// The kexec worked and the restore did not; gives the lab's message.
fn check_not_restored(run: &Run) -> String {
    assert_eq!(run.exit_code, 1, "{run}");
    assert_eq!(
        (&run.report["outcome"], &run.report["handover"]),
        (&"failed".into(), &"intact".into()),
        "{run}"
    );
    assert_eq!(run.failure("/init workload-incoming")["kernel"], "incoming", "{run}");
    assert!(run.report["incoming"]["release"].is_string(), "{run}");
    assert_eq!(run.report["commands"][0]["exit_code"], 1, "{run}");
    run.result()["message"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "boots a virtual machine"]
fn without_a_flight_recorder_the_incoming_half_is_measured() {
    let run = lab(&["--fault", "no-flight-recorder", "--check"]);
    run.check_sound();
    check_incoming_half(&run, "absent");
    // It was said beforehand, with what to do about it.
    let check = check_prediction(&run);
    let recorder = need(&check, "recorder");
    assert_eq!(recorder["state"], "no");
    assert!(recorder["how"][0].as_str().unwrap().starts_with("boot with reserve_mem="), "{recorder}");
    let lost = check["phases"].as_array().unwrap().iter().filter(|phase| phase["kernel"] == "outgoing");
    assert!(lost.clone().all(|phase| phase["state"] != "seen"), "{}", check["phases"]);
}

#[test]
#[ignore = "boots a virtual machine"]
fn with_a_rejected_flight_recorder_the_incoming_half_is_measured() {
    check_incoming_half(&planted("rejected-flight-recorder"), "rejected");
}

/// The live update worked; of the outgoing kernel's last moments there is nothing.
fn check_incoming_half(run: &Run, handover: &str) {
    assert_eq!(run.exit_code, 0, "{run}");
    let report = &run.report;
    assert_eq!((&report["outcome"], &report["handover"]), (&"partial".into(), &handover.into()), "{run}");
    for id in ["early-boot", "core-init", "initcalls", "user-space", "restore", "finish"] {
        assert!(phase(report, id)["duration_ns"].as_u64() > Some(0), "{id}: {run}");
    }
    let phases = report["phases"].as_array().unwrap();
    assert!(phases.iter().all(|phase| phase["kernel"] == "incoming"), "{run}");
    check_says_why(run);
}

/// A partial report tells its reader what is missing.
fn check_says_why(run: &Run) {
    assert_ne!(run.report["notes"], serde_json::json!([]), "no note says what is missing: {run}");
}

/// A machine that is stopped has no machine time: it is late, and does not hang.
#[test]
#[ignore = "boots a virtual machine"]
fn full_a_stopped_machine_does_not_hang() {
    for stage in ["outgoing up", "kexec"] {
        let run = lab_while(&["--guests", "0", "--timeout", "50"], |line, qemu| {
            if line.ends_with(&format!("] {stage}")) {
                assert!(qemu.kill(libc::SIGSTOP), "QEMU has ended by itself");
                std::thread::sleep(Duration::from_secs(60));
                assert!(qemu.kill(libc::SIGCONT), "a stopped QEMU has ended");
            }
        });
        assert_eq!(run.exit_code, 0, "{stage}: {run}");
        run.check_complete();
    }
}
