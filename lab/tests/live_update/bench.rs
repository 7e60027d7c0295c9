//! Two builds against each other.

use crate::run::{phase, tree};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// 1000 instructions of two nanoseconds each, as the driver's busy-wait of two microseconds.
const PLANTED_NS: i64 = 2000;
/// Files a session. A timer tick in the call itself outweighs the delay; behind another number of files it falls elsewhere.
const FILES: [&str; 3] = ["4", "3", "5"];

#[test]
#[ignore = "boots a virtual machine"]
fn full_a_planted_delay_of_a_thousand_instructions_is_found_with_its_function() {
    let tries = FILES.into_iter().map(|files| {
        let dir = tempfile::tempdir().unwrap();
        let answer = bench(dir.path(), files);
        (dir, files, answer)
    });
    // By name, whether or not a timer tick more or less hides it in the sum.
    let is_blamed = |line: &str| line.contains("handler-retrieve [lab-v1]") && line.contains(" regression ");
    let found = |stdout: &String| stdout.lines().any(is_blamed);
    let (dir, files, (code, stdout, stderr)) = tries
        .inspect(|(_, _, answer)| eprintln!("{}", answer.1))
        .find(|(_, _, answer)| found(&answer.1))
        .unwrap();
    assert_eq!(code, 3, "{stdout}{stderr}");
    let [a, b] = ["a", "b"].map(|side| report(&dir.path().join(side)));
    for (before, after) in phases(&a).zip(phases(&b)) {
        assert_eq!(before["id"], after["id"]);
        let difference = ns(after) - ns(before);
        match before["id"].as_str().unwrap() {
            // What comes behind the delay may meet a timer tick that came before, or the other way round.
            "restore" | "finish" => {}
            // Nothing before the restore knows of the delay: not one nanosecond of it differs.
            id => assert_eq!(difference, 0, "{id}: {stdout}"),
        }
    }

    let planted = [&a, &b].map(|report| {
        let spans = tree(phase(report, "restore"));
        let is_register = |span: &&&Value| span["name"] == "handler-retrieve" && span["subject"] == "lab-v1";
        let register = spans.iter().find(is_register).unwrap();
        register["self_ns"].as_i64().unwrap()
    });
    let difference = planted[1] - planted[0];
    // The busy-wait never ends early, and looks at the clock only so often (16 us were seen); to wait for nothing, as
    // the other side does, takes some instructions too (13 were seen).
    assert!((PLANTED_NS * 9 / 10..10 * PLANTED_NS).contains(&difference), "{difference}: {stdout}");
    assert!(stdout.lines().next().is_some_and(|line| line.contains("handler-retrieve [lab-v1]")), "{stdout}");

    let (code, again, stderr) = bench(dir.path(), files);
    assert_eq!((code, again), (3, stdout), "gone on with, the same series gives another verdict");
    assert!(stderr.contains("2 runs, 2 of them done"), "{stderr}");
}

/// Exit code, standard output and standard error.
fn bench(out: &Path, files: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blackout-lab"));
    command.args([
        "bench",
        "--guests",
        "0",
        "--deterministic",
        "--plant-b",
        "retrieve_delay_us=2",
        "--files",
        files,
    ]);
    let output = command.arg("--out").arg(out).args(["--", "--fail-on-span"]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
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
