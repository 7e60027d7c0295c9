use std::collections::BTreeMap;

use super::*;
use crate::{
    report::{Kernel, Overhead, Span},
    testing,
};

/// Rules that fire, by id.
fn fired(advice: &[Advice]) -> Vec<&str> {
    advice.iter().map(|advice| advice.rule.as_str()).collect()
}

/// A critical span of milliseconds, in a window of 1000.
fn span(name: &str, kind: &str, start_ms: i64, ms: u64) -> Span {
    let (kind, critical) = (kind.to_owned(), true);
    Span { kind, critical, ..testing::span(name, start_ms * 1_000_000, ms * 1_000_000) }
}

/// Two phases of half a second, these spans in the first.
fn report(spans: Vec<Span>) -> Report {
    let mut report = testing::report(spans);
    for (number, phase) in report.phases.iter_mut().enumerate() {
        (phase.start_ns, phase.duration_ns) = (number as i64 * 500_000_000, 500_000_000);
    }
    report.window.as_mut().unwrap().duration_ns = 1_000_000_000;
    report.incoming = Some(Kernel { cmdline: "console=ttyS0".into(), ..Kernel::default() });
    report.run.cpus = 4;
    report
}

fn of_spans(spans: Vec<Span>) -> Vec<Advice> {
    advise(&Case { report: &report(spans), log: &[] })
}

fn line(at_ms: i64, text: &str) -> Line {
    Line { at_ns: Some(at_ms * 1_000_000), level: 6, text: text.into() }
}

/// One rule fires, with this saving, and leaves no word open.
#[track_caller]
fn assert_one(advice: &[Advice], rule: &str, saving_ms: u64) {
    assert_eq!(fired(advice), [rule], "{advice:?}");
    assert_eq!(advice[0].saving_ns / 1_000_000, saving_ms, "{advice:?}");
    assert!(!advice[0].text.contains('?') && !advice[0].how.contains('?'), "{advice:?}");
}

#[test]
fn rules_are_read_and_named_once() {
    let rules = parse(include_str!("rules.toml")).unwrap();
    let ids: std::collections::BTreeSet<&String> = rules.iter().map(|rule| &rule.id).collect();
    assert_eq!(ids.len(), rules.len());
    assert!(of_spans(vec![]).is_empty());
}

#[test]
fn facts_stand_where_their_names_stood() {
    let facts = [("a", "{b}".to_owned()), ("b", "x".to_owned())];
    assert_eq!(fill("{a}, {b}, {c}", &facts), "{b}, x, ?");
}

/// A log whose every byte takes 10 us, beside the work between some lines.
fn log(level: u8) -> Vec<Line> {
    let mut at_ns = 100_000_000;
    let mut lines = vec![Line { at_ns: None, level, text: "x".repeat(83) }; 30];
    lines.push(Line { at_ns: Some(at_ns), level: 6, text: "printk: legacy console [ttyS0] enabled".into() });
    at_ns += (30 * 100 + 55) * 10_000;
    for number in 0..60 {
        lines.push(Line { at_ns: Some(at_ns), level, text: "y".repeat(83) });
        at_ns += 100 * 10_000 + if number % 2 == 0 { 3_000_000 } else { 0 };
    }
    lines
}

#[test]
fn console_output_costs_what_its_bytes_take() {
    let advice = advise(&Case { report: &report(vec![]), log: &log(6) });
    // 90 lines of 100 bytes and one of 55.
    assert_one(&advice, "console-output", 90);
    assert!(advice[0].text.contains("91 log lines"), "{advice:?}");
    assert_eq!(advice[0].phase, "first");
}

/// Linux 7.3 on a serial line: after 30 lines of its own, printk leaves them to the console's thread.
#[test]
fn what_a_thread_writes_is_free_where_it_has_a_cpu() {
    let mut log = log(6);
    let from = log.len() - 30;
    let start = log[from].at_ns.unwrap();
    for (number, line) in log[from..].iter_mut().enumerate() {
        line.at_ns = Some(start + number as i64 * 100_000);
    }
    let mut report = report(vec![]);
    let advice = advise(&Case { report: &report, log: &log });
    assert_one(&advice, "console-output", 60);
    assert!(advice[0].text.contains("91 log lines") && advice[0].text.contains("3000 of them"), "{advice:?}");
    report.run.cpus = 1;
    assert_one(&advise(&Case { report: &report, log: &log }), "console-output", 90);
}

#[test]
fn a_quiet_kernel_or_one_without_a_console_is_left_alone() {
    let mut quiet = report(vec![]);
    quiet.incoming.as_mut().unwrap().cmdline += " quiet";
    // Debug lines are in the log only, unless they are asked for.
    for (report, log) in [(&quiet, log(6)), (&report(vec![]), log(7)), (&report(vec![]), vec![line(1, "x")])]
    {
        assert_eq!(fired(&advise(&Case { report, log: &log })), [""; 0]);
    }
}

#[test]
fn a_slow_tsc_calibration_is_seen_unless_the_frequency_was_given() {
    let log =
        [line(200, "before"), line(350, "tsc: using PMTIMER reference calibration"), line(400, "after")];
    let mut report = report(vec![]);
    assert_one(&advise(&Case { report: &report, log: &log }), "tsc-calibration", 150);
    report.incoming.as_mut().unwrap().cmdline += " tsc_early_khz=2600000";
    assert!(advise(&Case { report: &report, log: &log }).is_empty());
}

#[test]
fn pages_that_one_cpu_initialised_are_seen_where_the_configuration_says_so() {
    let log = [
        line(100, "Initmem setup node 0 [mem 0x1000-0x7fffffff]"),
        line(101, "Initmem setup node 1 [mem 0x80000000-0xffffffff]"),
        line(140, "On node 0, zone DMA: 1 pages in unavailable ranges"),
        line(181, "next"),
    ];
    let mut report = report(vec![]);
    assert!(advise(&Case { report: &report, log: &log }).is_empty(), "the configuration is not known");
    report.incoming.as_mut().unwrap().config = Some(BTreeMap::new());
    assert_one(&advise(&Case { report: &report, log: &log }), "deferred-pages-off", 60);
    let on = BTreeMap::from([("CONFIG_DEFERRED_STRUCT_PAGE_INIT".to_owned(), "y".to_owned())]);
    report.incoming.as_mut().unwrap().config = Some(on);
    assert!(advise(&Case { report: &report, log: &log }).is_empty());
}

#[test]
fn an_image_that_is_loaded_in_the_window_is_seen_in_any_task() {
    let load = Span { critical: false, ..span("kexec-load", "reboot", 10, 80) };
    assert_one(&of_spans(vec![load.clone()]), "load-in-window", 80);
    let mut before = report(vec![]);
    before.brownout = vec![load];
    assert!(advise(&Case { report: &before, log: &[] }).is_empty());
}

#[test]
fn small_folios_would_leave_their_part() {
    let memfd = |folios: u64| Span {
        subject: format!("memfd-v2, {folios} folios, 33554432 bytes"),
        ..span("memfd-retrieve", "memfd", 10, 64)
    };
    let advice = of_spans(vec![memfd(8192)]);
    assert_one(&advice, "small-folios", 63);
    assert!(advice[0].text.contains("8192 folios hold 32 MiB"), "{advice:?}");
    assert!(advice[0].how.contains(" 16 folios of 2 MiB"), "{advice:?}");
    assert!(of_spans(vec![memfd(16)]).is_empty());
    assert!(of_spans(vec![Span { critical: false, ..memfd(8192) }]).is_empty());
}

#[test]
fn a_device_that_dominates_is_named() {
    let device =
        |ms| Span { subject: "nvme 0000:02:00.0".into(), ..span("pci-shutdown", "device-shutdown", 0, ms) };
    let all = |ms| Span { spans: vec![device(ms)], ..span("device-shutdown", "device-shutdown", 0, 480) };
    let advice = of_spans(vec![all(150)]);
    assert_one(&advice, "slow-shutdown", 150);
    assert!(advice[0].text.contains("30 %") && advice[0].text.contains("0000:02:00.0"), "{advice:?}");
    assert!(of_spans(vec![all(90)]).is_empty());
    let reset =
        Span { spans: vec![span("pci-bus-reset", "pci", 1, 200)], ..span("pci-reset", "pci", 0, 201) };
    assert_one(&of_spans(vec![reset]), "slow-reset", 201);
    assert!(of_spans(vec![span("pci-reset", "pci", 0, 20)]).is_empty());
}

#[test]
fn initcalls_that_find_nothing_and_self_tests_are_summed() {
    let initcall = |name: &str, ms, retval| Span { retval: Some(retval), ..span(name, "initcall", 0, ms) };
    let advice =
        of_spans(vec![initcall("a_init", 5, -19), initcall("b_init", 7, -19), initcall("c_init", 90, 0)]);
    assert_one(&advice, "idle-drivers", 12);
    assert!(advice[0].how.contains("initcall_blacklist=b_init,a_init "), "{advice:?}");
    assert_one(&of_spans(vec![initcall("kho_test_init", 20, 0)]), "self-tests", 20);
    assert_one(&of_spans(vec![initcall("init_kprobe_trace", 50, 0)]), "looking-boot-kprobes", 50);
    // One that the phase did not wait for.
    let beside = Span { critical: false, ..initcall("d_init", 50, -19) };
    assert!(of_spans(vec![beside]).is_empty());
}

#[test]
fn cpus_that_start_one_after_the_other_are_seen() {
    let wake = |start, ms| span("cpu-wake", "smp", start, ms);
    let advice = of_spans(vec![wake(0, 10), wake(20, 30), wake(60, 20)]);
    assert_one(&advice, "serial-cpus", 30);
    assert!(of_spans(vec![wake(0, 30), wake(20, 30), wake(60, 20)]).is_empty(), "at once");
    assert!(of_spans(vec![wake(0, 30)]).is_empty(), "only one");
}

#[test]
fn probes_on_the_only_cpu_are_in_the_way() {
    let mut report = report(vec![]);
    report.overhead = Overhead { in_window_ns: Some(90_000_000), ..Overhead::default() };
    assert!(advise(&Case { report: &report, log: &[] }).is_empty());
    report.run.cpus = 1;
    assert_one(&advise(&Case { report: &report, log: &[] }), "looking-one-cpu", 90);
}
