//! The long ones: other workloads, other kernels, many runs.

use crate::run::lab;
use serde_json::Value;

#[test]
#[ignore = "boots a virtual machine"]
fn full_the_kernels_own_selftests_come_through() {
    for name in ["luo_kexec_simple", "luo_multi_session"] {
        let run = lab(&["--workload", &format!("selftest:{name}")]);
        assert_eq!(run.exit_code, 0, "{name}: {run}");
        run.check_complete();
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_one_kernel_series_replaces_another() {
    for (from, to) in [("7.2", "7.3"), ("7.3", "7.2")] {
        let run = lab(&["--from", from, "--to", to]);
        assert_eq!(run.exit_code, 0, "{from} -> {to}: {run}");
        run.check_complete();
        for (side, series) in [("outgoing", from), ("incoming", to)] {
            let release = run.report[side]["release"].as_str().unwrap();
            assert!(release.starts_with(&format!("{series}.")), "{side}: {release}");
        }
    }
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_twenty_runs_come_through() {
    let run = lab(&["--runs", "20", "--json"]);
    assert_eq!(run.exit_code, 0, "{run}");
    let reports = run.stdout_json();
    let reports = reports.as_array().unwrap();
    assert_eq!(reports.len(), 20);
    for (number, report) in (1..).zip(reports) {
        run.check_report(&format!("-{number}"));
        assert_eq!(report["outcome"], "complete", "run {number}: {}", report["notes"]);
    }
    let mut ids: Vec<&Value> = reports.iter().map(|report| &report["run"]["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), 20, "two runs of the same name");
}
