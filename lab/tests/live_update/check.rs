//! `blackout check` says beforehand what a live update will show: held against the report of the same run,
//! in kernels that have everything and in poor ones.

use crate::run::{Run, lab};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Families that take what the lab has not: guest memory of another kind.
const IDLE: [&str; 1] = ["guest_memfd"];

/// A probe in a kernel, and how it is attached.
type Key<'a> = (&'a str, &'a str, &'a str);

fn key(entry: &Value) -> Key<'_> {
    let text = |name: &str| entry[name].as_str().unwrap();
    (text("probe"), text("kernel"), text("method"))
}

/// What was said comes true, probe by probe, and phase by phase; gives the check.
pub fn check_prediction(run: &Run) -> Value {
    let check: Value = serde_json::from_slice(&std::fs::read(run.file("check.json")).unwrap()).unwrap();
    assert_eq!(check["schema"], "blackout.check/1");
    assert_eq!(check["tried"]["attached"], true, "{}: {run}", check["tried"]);
    let said: BTreeMap<Key, &Value> = list(&check["probes"]).map(|entry| (key(entry), entry)).collect();
    let came: BTreeMap<Key, &Value> =
        list(&run.report["coverage"]).map(|entry| (key(entry), entry)).collect();
    for (key, entry) in &came {
        let said = said.get(key).unwrap_or_else(|| panic!("{key:?} was not foretold: {run}"));
        let expected = match entry["state"].as_str().unwrap() {
            "fired" | "attached" => "attached",
            other => other,
        };
        assert_eq!(said["state"], expected, "{key:?}: said {said}, came {entry}");
        assert_eq!(said["symbol"], entry["symbol"], "{key:?}");
    }
    for (key, entry) in said.iter().filter(|(_, entry)| entry["only_if"].is_null()) {
        assert!(came.contains_key(key), "{key:?} did not come: {entry}: {run}");
    }

    let foretold = |states: &[&str]| -> BTreeSet<&str> {
        let with = |phase: &&Value| states.contains(&phase["state"].as_str().unwrap());
        list(&check["phases"]).filter(with).map(|phase| phase["id"].as_str().unwrap()).collect()
    };
    let phases = list(&run.report["phases"]).filter(|phase| phase["id"] != "unobserved");
    let found: BTreeSet<&str> = phases.map(|phase| phase["id"].as_str().unwrap()).collect();
    // A guest's window begins late and ends early: the host's is what was foretold.
    if run.report["window"]["definition"] == "host" {
        let seen = foretold(&["seen"]);
        assert!(seen.is_subset(&found), "{:?} did not come: {run}", seen.difference(&found));
    }
    let possible = foretold(&["seen", "conditional"]);
    assert!(found.is_subset(&possible), "{:?} were not foretold: {run}", found.difference(&possible));
    check
}

/// Every family that this kernel has anything of shows it, and none is refused.
pub fn check_families(check: &Value, run: &Run) {
    let coverage = || list(&run.report["coverage"]);
    let failed: Vec<&Value> = coverage().filter(|entry| entry["state"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:?}");
    for family in list(&check["families"]) {
        let name = family["family"].as_str().unwrap();
        let attached = |kernel: &str| family[kernel]["attached"].as_u64().unwrap();
        if attached("outgoing") + attached("incoming") == 0 || IDLE.contains(&name) {
            continue;
        }
        let fired = coverage().any(|entry| entry["family"] == name && entry["state"] == "fired");
        assert!(fired, "nothing of family {name} was seen: {run}");
    }
}

fn list(array: &Value) -> std::slice::Iter<'_, Value> {
    array.as_array().unwrap().iter()
}

/// A live update from a kernel without `option` to itself, with what was foretold of it.
fn without(option: &str) -> (Run, Value) {
    let run = lab(&["--check", "--config", &format!("{option}=n")]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_sound();
    assert_eq!(
        (&run.report["outcome"], &run.report["handover"]),
        (&"complete".into(), &"intact".into()),
        "{run}"
    );
    let check = check_prediction(&run);
    let notes: Vec<&str> = list(&run.report["notes"]).map(|note| note.as_str().unwrap()).collect();
    assert!(notes.iter().any(|note| note.contains(option)), "the report does not say why: {notes:?}");
    (run, check)
}

/// One of its answers.
pub fn need<'a>(check: &'a Value, id: &str) -> &'a Value {
    list(&check["needs"]).find(|need| need["id"] == id).unwrap()
}

#[test]
#[ignore = "builds a kernel and boots a virtual machine"]
fn full_without_btf_times_have_no_names() {
    let (run, check) = without("CONFIG_DEBUG_INFO_BTF");
    assert_eq!(need(&check, "btf")["state"], "no");
    let files: Vec<&Value> = list(&run.report["phases"]).flat_map(crate::run::tree).collect();
    let retrieved: Vec<&&Value> = files.iter().filter(|span| span["name"] == "file-retrieve").collect();
    assert!(!retrieved.is_empty(), "{run}");
    // The token is an argument; the session's name would have taken BTF.
    for span in retrieved {
        let subject = span["subject"].as_str().unwrap();
        assert!(subject.starts_with("token "), "{subject}: {run}");
    }
}

#[test]
#[ignore = "builds a kernel and boots a virtual machine"]
fn full_without_kprobes_one_probe_serves_many() {
    let (run, check) = without("CONFIG_KPROBES");
    assert_eq!(need(&check, "kprobes")["state"], "no");
    for entry in list(&run.report["coverage"]) {
        assert_ne!(entry["method"], "kprobe", "{entry}");
    }
    // The outgoing kernel's part is there all the same.
    for id in ["freeze", "device-shutdown", "stop", "dark"] {
        crate::run::phase(&run.report, id);
    }
}

#[test]
#[ignore = "builds a kernel and boots a virtual machine"]
fn full_without_the_function_tracer_probes_come_one_by_one() {
    let (run, check) = without("CONFIG_FUNCTION_TRACER");
    assert_eq!(need(&check, "function-tracer")["state"], "no");
    for entry in list(&run.report["coverage"]) {
        assert_ne!(entry["method"], "kprobe-multi", "{entry}");
    }
    for id in ["freeze", "device-shutdown", "stop", "dark", "restore", "finish"] {
        crate::run::phase(&run.report, id);
    }
}
