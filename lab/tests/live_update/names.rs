//! Names on the time: what each phase waited for, what ran, and what could be shorter.

use crate::run::{Run, lab, phase, tree};
use profiler_report::catalogue::Found;
use profiler_report::evidence::probe_record::{ProbeCall, ProbeRecord};
use profiler_report::evidence::trace::{self, CpuPages, TraceEvent, TraceKind};
use profiler_report::evidence::{facts::facts, kmsg, zoneinfo};
use profiler_report::recording::{self, Body, Recording, Side};
use serde_json::Value;
use std::fs;

/// The planted delay, and how near to it the report must come.
const DELAY_NS: u64 = 40_000_000;
const NEAR_NS: u64 = 1_000_000;

#[test]
#[ignore = "boots a virtual machine"]
fn full_a_planted_delay_leads_its_phase_and_what_ran_is_listed() {
    // Small files: to look through them is no work.
    let run = lab(&["--deterministic", "--file-size", "64K", "--plant", "retrieve_delay_us=40000"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let restore = phase(&run.report, "restore");
    let first = &restore["chain"][0];
    assert_eq!((&first["name"], &first["subject"]), (&"handler-retrieve".into(), &"lab-v1".into()), "{run}");
    let own_ns = first["own_ns"].as_u64().unwrap();
    assert!(own_ns.abs_diff(DELAY_NS) < NEAR_NS, "{own_ns}: {run}");
    // Its own span, and those around it: all of them on the path.
    let named = |span: &&&Value| span["name"] == "handler-retrieve" && span["subject"] == "lab-v1";
    let spans = tree(restore);
    assert_eq!(spans.iter().find(named).unwrap()["critical"], true, "{run}");

    // Init, the recorder, and the restore that it started: a list, and the path goes through all three.
    let path = phase(&run.report, "user-space")["chain"].as_array().unwrap();
    let on_path =
        |subject: &str| path.iter().any(|link| link["kind"] == "process" && link["subject"] == subject);
    assert!(on_path("/init") && on_path("/bin/blackout"), "{path:?}");

    // What has no subject was given none: not the registers, of which every walk begins.
    let opened = run.entered("luo_open");
    assert!(!opened.is_empty(), "{run}");
    assert!(opened.iter().all(|found| found.texts == [""; 2] && found.numbers == [None; 2]), "{opened:?}");
}

#[test]
#[ignore = "boots a virtual machine"]
fn full_each_numa_node_has_its_deferred_pages() {
    // The lab's own kernel does not read ACPI's tables about nodes.
    let run = lab(&["--numa", "2", "--memory", "8G", "--config", "CONFIG_X86_64_ACPI_NUMA=y"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let nodes = run.report["deferred_pages"].as_array().unwrap();
    assert_eq!(nodes.iter().map(|node| &node["node"]).collect::<Vec<_>>(), [0, 1], "{run}");
    let pages: Vec<u64> = nodes.iter().map(|node| node["pages"].as_u64().unwrap()).collect();
    assert!(nodes.iter().all(|node| node["pages_per_second"].as_u64() > Some(0)), "{run}");

    let recording = run.recording();
    let blob = |wanted: &Body| &recording.frames.iter().find(|frame| frame.body == *wanted).unwrap().blob;
    // Each node's highest zone has these pages, and the first section (128 MiB) that was not left for later.
    let zones = zoneinfo::parse(blob(&Body::ZoneInfo));
    for (node, pages) in (0..).zip(&pages) {
        let zone = zones.iter().rfind(|zone| zone.node == node).unwrap();
        assert_eq!(zone.present - pages, 32_768, "{zone:?}");
    }
    let log = kmsg::parse(blob(&Body::Kmsg)).lines;
    assert_eq!(
        facts(&log)
            .filter(|(_, fact)| matches!(fact, profiler_report::evidence::facts::Fact::DeferredPages { .. }))
            .count(),
        2
    );
}

/// What the advice says a change saves, and what the change then does save: within a half of it, both ways.
#[test]
#[ignore = "boots a virtual machine"]
fn full_advice_is_worth_what_it_says() {
    // Virtual time is instructions, of whichever CPU: there a thread beside is not free. On one CPU it never is.
    let lab = |append: &[&str]| lab(&[&["--deterministic", "--cpus", "1"], append].concat());
    let plain = lab(&[]);
    let window = |run: &Run| run.report["window"]["duration_ns"].as_i64().unwrap();
    check_saving(&lab(&["--append", "loglevel=7"]), "console-output", &plain, window);

    // So little is lost in a whole window, whose length holds chance: where the preserved pages lie.
    let advice = plain.advice("self-tests");
    let how = advice["how"].as_str().unwrap();
    let blacklist =
        how.split_ascii_whitespace().find(|word| word.starts_with("initcall_blacklist=")).unwrap();
    let without = lab(&["--append", blacklist]);
    check_saving(&plain, "self-tests", &without, |run| {
        let mut phases = run.report["phases"].as_array().unwrap().iter();
        phases.find(|phase| phase["id"] == advice["phase"]).unwrap()["duration_ns"].as_i64().unwrap()
    });
}

fn check_saving(before: &Run, rule: &str, after: &Run, lasted: impl Fn(&Run) -> i64) {
    let estimated = before.advice(rule)["saving_ns"].as_i64().unwrap();
    let measured = lasted(before) - lasted(after);
    eprintln!("{rule}: {estimated} ns estimated, {measured} ns measured");
    assert!((estimated / 2..=estimated * 3 / 2).contains(&measured), "{estimated} {measured}: {before}");
    let again = after.report["advice"].as_array().unwrap().iter().any(|advice| advice["rule"] == rule);
    assert!(!again, "{after}");
}

impl Run {
    fn advice(&self, rule: &str) -> &Value {
        let mut advice = self.report["advice"].as_array().unwrap().iter();
        advice.find(|advice| advice["rule"] == rule).unwrap_or_else(|| panic!("no advice {rule}: {self}"))
    }

    /// What the programs found at the entries of a function of the incoming kernel.
    fn entered(&self, function: &str) -> Vec<Found> {
        let recording = self.recording();
        let (mut buffer, mut pages, mut at) = (None, Vec::new(), None);
        for frame in recording.frames.iter().filter(|frame| frame.side == Side::Incoming) {
            match &frame.body {
                Body::TraceBuffer(described) => buffer = Some(described),
                Body::TracePages { cpu, page_size, .. } => {
                    pages.push(CpuPages { cpu: *cpu, page_size: *page_size, blob: &frame.blob });
                }
                Body::Symbols { symbols } => at = at.or(symbols.iter().find(|(_, name)| name == function)),
                _ => {}
            }
        }
        let trace = trace::decode(buffer.unwrap(), pages).unwrap();
        let record = |event: &TraceEvent| match &event.event {
            TraceKind::BpfPrintk { text } => ProbeRecord::parse(text),
            _ => None,
        };
        let ours = trace.events.iter().filter_map(record).filter(|record| record.ip == at.unwrap().0);
        let found = ours.filter_map(|record| match record.point {
            ProbeCall::Enter { found, .. } => Some(found),
            ProbeCall::Exit { .. } => None,
        });
        found.collect()
    }

    fn recording(&self) -> Recording {
        recording::read(&fs::read(self.file("recording.blackout")).unwrap()).unwrap()
    }
}

#[test]
#[ignore = "builds a kernel and boots a virtual machine"]
fn full_initcalls_of_built_in_drivers_name_their_module() {
    let run = lab(&["--config", "CONFIG_EXPERT=y CONFIG_VMLINUX_MAP=y CONFIG_BUILTIN_MODULE_RANGES=y"]);
    assert_eq!(run.exit_code, 0, "{run}");
    run.check_complete();
    let initcalls = tree(phase(&run.report, "initcalls"));
    let of = |name: &str| {
        initcalls.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{name}: {run}"))
    };
    assert_eq!(of("svm_init")["subject"], "module kvm_amd");
    // What cannot be a module has none.
    assert_eq!(of("acpi_init")["subject"], "");
}
