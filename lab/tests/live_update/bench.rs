//! Two builds against each other.

use crate::run::{phase, tree};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// 1000 instructions of two nanoseconds each, as the driver's busy-wait of two microseconds.
const PLANTED_NS: i64 = 2000;
/// The busy-wait never ends early, and looks at the clock only so often (16 us were seen); to wait for nothing, as the
/// other side does, takes some instructions too (13 were seen).
const SEEN_NS: std::ops::Range<i64> = PLANTED_NS * 9 / 10..10 * PLANTED_NS;
/// Files a session: with another number of them, timer ticks fall elsewhere. One that falls into the call itself, on one
/// side alone, outweighs the delay.
const FILES: [&str; 5] = ["4", "3", "5", "2", "6"];

#[test]
#[ignore = "boots a virtual machine"]
fn a_planted_delay_of_a_thousand_instructions_is_found_with_its_function() {
    let is_blamed = |line: &str| line.contains("handler-retrieve [lab-v1]") && line.contains(" regression ");
    let mut tries = FILES.into_iter().map(|files| Try::bench(tempfile::tempdir().unwrap(), files));
    let found = |attempt: &Try| {
        eprintln!("{}{} ns", attempt.stdout, attempt.planted_ns());
        SEEN_NS.contains(&attempt.planted_ns()) && attempt.stdout.lines().any(is_blamed)
    };
    let Try { dir, files, code, stdout, stderr } = tries.find(found).unwrap();
    assert_eq!(code, 3, "{stdout}{stderr}");
    let [a, b] = ["a", "b"].map(|side| report(&dir.path().join(side)));
    for (before, after) in phases(&a).zip(phases(&b)) {
        assert_eq!(before["id"], after["id"]);
        match before["id"].as_str().unwrap() {
            // What comes behind the delay may meet a timer tick that came before, or the other way round.
            "restore" | "finish" => {}
            // Nothing before the restore knows of the delay: not one nanosecond of it differs.
            id => assert_eq!(ns(after) - ns(before), 0, "{id}: {stdout}"),
        }
    }

    let Try { code, stdout: again, stderr, .. } = Try::bench(dir, files);
    assert_eq!((code, again), (3, stdout), "gone on with, the same series gives another verdict");
    assert!(stderr.contains("2 runs, 2 of them done"), "{stderr}");
}

/// One run a side, the second with the delay.
struct Try {
    dir: TempDir,
    files: &'static str,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Try {
    fn bench(dir: TempDir, files: &'static str) -> Self {
        let mut command = toolbox::program::command(env!("CARGO_BIN_EXE_blackout-lab"));
        command.args(["bench", "--guests", "0", "--deterministic", "--plant-b", "retrieve_delay_us=2"]);
        command.args(["--files", files, "--out"]).arg(dir.path()).args(["--", "--fail-on-span"]);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { dir, files, code: output.status.code().unwrap(), stdout, stderr }
    }

    /// By how much the call's own time is longer on the second side.
    fn planted_ns(&self) -> i64 {
        let [a, b] = ["a", "b"].map(|side| {
            let report = report(&self.dir.path().join(side));
            let spans = tree(phase(&report, "restore"));
            let is_planted =
                |span: &&&Value| span["name"] == "handler-retrieve" && span["subject"] == "lab-v1";
            spans.iter().find(is_planted).unwrap()["self_ns"].as_i64().unwrap()
        });
        b - a
    }
}

fn report(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("report-1.json")).unwrap()).unwrap()
}

fn phases(report: &Value) -> impl Iterator<Item = &Value> {
    report["phases"].as_array().unwrap().iter()
}

fn ns(phase: &Value) -> i64 {
    phase["duration_ns"].as_i64().unwrap()
}
