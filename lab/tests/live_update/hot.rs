//! Functions that are called once a page: how often is known, with and without a look at each call.

use crate::run::{Run, lab};
use serde_json::Value;

/// Bytes of a page, and so of each folio of a memfd here.
const PAGE: u64 = 4096;

#[test]
#[ignore = "boots a virtual machine"]
fn pages_are_counted_where_they_are_restored() {
    let run = lab(&["--hot"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    run.check_folios(8, 4 << 20);
    run.check_counted(8 * (4 << 20) / PAGE);
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_the_folios_of_a_gigabyte_are_counted() {
    let gigabyte = ["--sessions", "1", "--files", "1", "--file-size", "1G", "--memory", "4G"];
    let without = lab(&gigabyte);
    assert_eq!(without.exit_code, 0, "{without}");
    without.check_folios(1, 1 << 30);
    assert!(counted(&without.report).next().is_none(), "{without}");
    let with = lab(&[gigabyte.as_slice(), &["--hot"]].concat());
    assert_eq!(with.exit_code, 0, "{with}");
    with.check_folios(1, 1 << 30);
    with.check_counted((1 << 30) / PAGE);
}

impl Run {
    /// Each memfd's folios are known on both sides, without a probe on any function that is called once a folio.
    fn check_folios(&self, memfds: usize, bytes: u64) {
        for probe in ["folio-preserve", "folio-restore"] {
            let told = |hot: &&Value| hot["probe"] == probe && !hot["carried_by"].is_null();
            let told: Vec<&Value> = hot(&self.report).filter(told).collect();
            assert_eq!(told.len(), memfds, "{probe}: {self}");
            let right =
                |hot: &&Value| hot["count"] == bytes / PAGE && hot["bytes"] == bytes && hot["order"] == 0;
            assert!(told.iter().all(right), "{probe}: {self}");
        }
    }

    /// Every call was counted: those of the memfds' folios, and, unless the compiler has made it one function with its
    /// caller, the one with which LUO takes each record over that it then frees.
    fn check_counted(&self, folios: u64) {
        let calls = |probe: &str| -> u64 {
            counted(&self.report)
                .filter(|hot| hot["probe"] == probe)
                .filter_map(|hot| hot["count"].as_u64())
                .sum()
        };
        let records = calls("folio-restore") - folios;
        assert!([0, calls("restore-free")].contains(&records), "{records}: {self}");
        assert!(calls("folio-preserve") >= folios && calls("radix-add") >= folios, "{self}");
        assert_eq!(self.report["loss"]["hot"], 0, "{self}");
        for hot in counted(&self.report) {
            let [least, half, most] = ["min_ns", "p50_ns", "max_ns"].map(|key| hot[key].as_u64().unwrap());
            assert!(least <= half && half <= most && !hot["hdr"].is_null(), "{hot}");
        }
        assert!(self.report["overhead"]["hot_runs"].as_u64().unwrap() >= 2 * folios, "{self}");
        assert!(self.report["overhead"]["hot_ns"].as_u64().unwrap() > 0, "{self}");
    }
}

fn hot(report: &Value) -> impl Iterator<Item = &Value> {
    report["hot"].as_array().into_iter().flatten()
}

/// What was counted where it ran.
fn counted(report: &Value) -> impl Iterator<Item = &Value> {
    hot(report).filter(|hot| hot["carried_by"].is_null())
}
