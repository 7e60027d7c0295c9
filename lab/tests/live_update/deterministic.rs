//! The deterministic mode: the same run gives the same report, to the last digit.

use crate::run::{Run, lab};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
#[ignore = "boots a virtual machine"]
fn two_deterministic_runs_are_one_to_the_last_digit() {
    let run = lab(&["--deterministic", "--runs", "2"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_same(2);
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_ten_deterministic_runs_are_one_on_a_busy_host() {
    let stop = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().unwrap().get();
    let run = std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let busy = lab(&["--deterministic", "--runs", "10"]);
        stop.store(true, Ordering::Relaxed);
        busy
    });
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_same(10);
    let idle = lab(&["--deterministic"]);
    let report = |run: &Run, name: &str| fs::read_to_string(run.file(name)).unwrap();
    assert!(report(&idle, "report.json") == report(&run, "report-1.json"), "busy or idle differ: {idle}");
}

#[test]
#[ignore = "boots a virtual machine"]
fn a_deterministic_run_that_fails_leaves_its_result() {
    let run = lab(&["--deterministic", "--fault", "freeze-fails"]);
    assert_eq!(run.exit_code, 1, "{run}");
    assert_eq!(run.report["outcome"], "failed", "{run}");
    assert_eq!(run.report["run"]["deterministic"], true, "{run}");
    assert!(!run.result()["message"].as_str().unwrap().is_empty(), "{run}");
}

impl Run {
    /// All runs are complete and their reports are equal byte for byte. (Of ten recordings one was 9 us off in what is
    /// read after the live update, which no report holds.)
    fn check_same(&self, runs: u32) {
        let read = |number: u32| fs::read(self.file(&format!("report-{number}.json"))).unwrap();
        let first = read(1);
        for number in 2..=runs {
            assert!(read(number) == first, "report {number} differs from the first: {self}");
        }
        self.check_report("-1");
        let report = fs::read(self.file("report-1.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["outcome"], "complete");
        crate::check_precise(&report);
    }
}
