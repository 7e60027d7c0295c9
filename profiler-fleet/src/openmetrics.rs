//! OpenMetrics of a host's last live update, for node_exporter's textfile collector.
//!
//! The text is valid OpenMetrics and valid Prometheus text at once: only types that both know, no timestamps (the
//! textfile collector refuses them). Labels are bounded: phases and probes by the catalogue, everything else by an
//! enumeration, but for the releases of kernels, of which a host has had two. What is not known has no sample.

use std::{collections::BTreeMap, fmt::Write};

use profiler_report::{
    catalogue::CATALOGUE,
    render::{clean, display},
    report::{Outcome, Report, VmStatus},
};

/// Upper bounds of the histogram of guests' windows, seconds.
const BOUNDS: [(&str, u64); 13] = [
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1.0", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5.0", 5_000_000_000),
    ("10.0", 10_000_000_000),
    ("30.0", 30_000_000_000),
    ("60.0", 60_000_000_000),
    ("120.0", 120_000_000_000),
];
/// Longest value of a label, characters; `uname -r` has at most 64.
const LONGEST: usize = 64;
/// What takes the place of a name that the catalogue does not know.
const OTHER: &str = "other";

/// A host's recordings, read one after the other: how they ended, and the last of them whole.
#[derive(Debug, Default)]
pub struct Tally {
    last: Option<Report>,
    /// Runs without an incoming half, by when they were recorded.
    open: Vec<String>,
    complete: u64,
    partial: u64,
    failed: u64,
    unreadable: u64,
}

impl Tally {
    /// Adds a live update.
    pub fn add(&mut self, report: Report) {
        if report.is_open() {
            return self.open.push(report.run.recorded_at);
        }
        match report.outcome {
            Outcome::Complete => self.complete += 1,
            Outcome::Partial => self.partial += 1,
            Outcome::Failed => self.failed += 1,
        }
        // RFC 3339 in UTC sorts as text.
        let newer = |last: &Report| last.run.recorded_at <= report.run.recorded_at;
        if self.last.as_ref().is_none_or(newer) {
            self.last = Some(report);
        }
    }

    /// Adds a recording that gives no report.
    pub fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }
}

/// Renders it.
///
/// # Errors
/// As [`clean`].
pub fn render(tally: &Tally) -> serde_json::Result<String> {
    let mut out = Families::default();
    // One that others came after will not get its incoming half any more.
    let last = tally.last.as_ref().map_or("", |last| &last.run.recorded_at);
    let lost = tally.open.iter().filter(|recorded_at| recorded_at.as_str() < last).count() as u64;
    out.family(
        "recordings",
        "",
        "Recordings on this host, by how the live update ended; open: armed, or its end is lost.",
    );
    for (outcome, count) in [
        ("complete", tally.complete),
        ("partial", tally.partial + lost),
        ("open", tally.open.len() as u64 - lost),
        ("failed", tally.failed),
        ("unreadable", tally.unreadable),
    ] {
        out.sample(&[("outcome", outcome)], count);
    }
    if let Some(last) = &tally.last {
        update(&mut out, &clean(last)?);
    }
    Ok(out.text + "# EOF\n")
}

fn update(out: &mut Families, report: &Report) {
    let release = |kernel: &Option<profiler_report::report::Kernel>| {
        kernel.as_ref().map_or_else(String::new, |kernel| kernel.release.clone())
    };
    let (outgoing, incoming) = (release(&report.outgoing), release(&report.incoming));
    out.family(
        "update_info",
        "",
        "The last live update: its kernels, and the blackout that made this report.",
    );
    let version = report.tool.version.as_str();
    out.sample(&[("outgoing", &outgoing), ("incoming", &incoming), ("version", version)], 1);
    if let Some(origin) = report.clock.origin_unix_ns {
        out.family("update_timestamp_seconds", "seconds", "When its window began, since 1970.");
        out.sample(&[], seconds(origin));
    }
    if let Some(number) = report.liveupdate_number {
        out.family("update_number", "", "Live updates since the cold boot, as the kernel counts them.");
        out.sample(&[], number);
    }
    out.states(
        "update_outcome",
        "How it ended: 1 at one of the three.",
        display::outcome(report),
        &["complete", "partial", "failed"],
    );
    out.states(
        "update_handover",
        "The flight recorder: 1 at one of the three.",
        display::handover(report),
        &["intact", "rejected", "absent"],
    );
    window(out, report);
    guests(out, report);
    failures(out, report);
    loss(out, report);
    let parts = [
        ("load", report.overhead.load_ns),
        ("attach", report.overhead.attach_ns),
        ("in_window", report.overhead.in_window_ns),
    ];
    out.family(
        "overhead_seconds",
        "seconds",
        "What looking has cost: loading, attaching, and of both in the window.",
    );
    for (part, ns) in parts {
        out.known(&[("part", part)], ns.map(seconds));
    }
}

fn window(out: &mut Families, report: &Report) {
    let Some(window) = &report.window else { return };
    let definition = ["vm", "host", "marks"].into_iter().find(|known| *known == window.definition);
    let labels = [("definition", definition.unwrap_or(OTHER))];
    out.family("window_seconds", "seconds", "Length of the blackout window.");
    out.sample(&labels, seconds(window.duration_ns));
    out.family("window_error_seconds", "seconds", "Error of that length.");
    out.sample(&labels, seconds(window.error_ns));
    out.family("unobserved_seconds", "seconds", "Part of the window that no evidence covers.");
    out.sample(&[], seconds(report.unobserved_ns));
    let mut phases: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for phase in &report.phases {
        let known = phase.id == "unobserved" || CATALOGUE.phases.iter().any(|known| known.id == phase.id);
        let id = if known { phase.id.as_str() } else { OTHER };
        let sum = phases.entry((display::kernel(phase.kernel), id)).or_default();
        *sum = sum.saturating_add(phase.duration_ns);
    }
    out.family("phase_seconds", "seconds", "Phases of the window; they add up to it.");
    for ((kernel, phase), ns) in phases {
        out.sample(&[("kernel", kernel), ("phase", phase)], seconds(ns));
    }
}

fn guests(out: &mut Families, report: &Report) {
    out.family("vms", "", "Guests, by what is known of their windows.");
    for (status, word) in [
        (VmStatus::Measured, "measured"),
        (VmStatus::Bounded, "bounded"),
        (VmStatus::NotResumed, "not-resumed"),
        (VmStatus::ResumeUnknown, "resume-unknown"),
        (VmStatus::StopUnknown, "stop-unknown"),
    ] {
        out.sample(&[("status", word)], report.vms.iter().filter(|vm| vm.status == status).count());
    }
    let windows: Vec<u64> = report.vms.iter().filter_map(|vm| vm.blackout_ns).collect();
    out.histogram(
        "vm_seconds",
        "Windows of the guests of the last live update; one that is bounded counts as its bound.",
        &windows,
    );
    if let Some(longest) = windows.iter().max() {
        out.family("vm_max_seconds", "seconds", "The longest of them.");
        out.sample(&[], seconds(*longest));
    }
}

fn failures(out: &mut Families, report: &Report) {
    let mut functions: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in &report.failures {
        let known = CATALOGUE.probes.iter().any(|probe| probe.name == failure.function);
        *functions.entry(if known { &failure.function } else { OTHER }).or_default() += 1;
    }
    out.family("failures", "", "What failed, by function.");
    for (function, count) in functions {
        out.sample(&[("function", function)], count);
    }
}

fn loss(out: &mut Families, report: &Report) {
    let loss = &report.loss;
    out.family("lost_records", "", "Evidence that was lost, by where.");
    for (place, count) in [
        ("streamed", loss.streamed),
        ("flight_recorder", loss.flight_recorder),
        ("hot", loss.hot),
        ("boot_trace", loss.boot_trace),
        ("kmsg", loss.kmsg),
        ("recording", Some(loss.recording)),
        ("unreadable", Some(loss.per_probe.iter().map(|lost| lost.count).sum())),
    ] {
        out.known(&[("place", place)], count);
    }
}

/// The exposition, family after family.
#[derive(Default)]
struct Families {
    text: String,
    name: &'static str,
}

impl Families {
    /// Begins a family of gauges.
    fn family(&mut self, name: &'static str, unit: &str, help: &str) {
        self.head(name, "gauge", unit, help);
    }

    fn head(&mut self, name: &'static str, kind: &str, unit: &str, help: &str) {
        self.name = name;
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP blackout_{name} {help}\n# TYPE blackout_{name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT blackout_{name} {unit}");
        }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.line("", labels, value);
    }

    fn known(&mut self, labels: &[(&str, &str)], value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "blackout_{}{suffix}{labels} {value}", self.name);
    }

    /// One of several states is 1.
    fn states(&mut self, name: &'static str, help: &str, state: &str, states: &[&str]) {
        self.family(name, "", help);
        let label = name.rsplit('_').next().unwrap_or(name);
        for known in states {
            self.sample(&[(label, known)], u8::from(*known == state));
        }
    }

    fn histogram(&mut self, name: &'static str, help: &str, values: &[u64]) {
        self.head(name, "histogram", "seconds", help);
        let up_to = |bound: u64| values.iter().filter(|value| **value <= bound).count();
        for (text, bound) in BOUNDS {
            self.line("_bucket", &[("le", text)], up_to(bound));
        }
        self.line("_bucket", &[("le", "+Inf")], values.len());
        self.line("_sum", &[], seconds(values.iter().fold(0, |sum, value| sum.saturating_add(*value))));
        self.line("_count", &[], values.len());
    }
}

/// Seconds to the nanosecond.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// A label's value, cut to [`LONGEST`].
fn escape(value: &str) -> String {
    let cut: String = value.chars().take(LONGEST).collect();
    cut.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_report::{
        report::{Kernel, Phase},
        testing::report,
    };

    fn rendered(report: Report) -> String {
        let mut tally = Tally::default();
        tally.add(report);
        render(&tally).unwrap()
    }

    #[test]
    fn labels_are_bounded_and_escaped_whatever_the_report_says() {
        let mut hostile = report(Vec::new());
        let release = format!("7.3\"\\{}", "x".repeat(9_000));
        hostile.incoming = Some(Kernel { release, ..Kernel::default() });
        let phase = hostile.phases[0].clone();
        let made_up = (0..100).map(|number| Phase { id: format!("made-up-{number}"), ..phase.clone() });
        hostile.phases.extend(made_up);
        let text = rendered(hostile);
        // The two of the report and the hundred, in one of each kernel.
        assert_eq!(text.matches("blackout_phase_seconds{").count(), 2, "{text}");
        assert!(text.contains("incoming=\"7.3\\\"\\\\xxx"), "{text}");
        assert!(text.lines().all(|line| line.len() < 200), "{text}");
    }

    #[test]
    fn the_last_update_is_the_newest_whatever_the_order() {
        let at = |day: &str, releases: &str| {
            let mut report = report(Vec::new());
            report.run.recorded_at = format!("2026-11-{day}T00:00:00Z");
            report.incoming = Some(Kernel { release: releases.to_owned(), ..Kernel::default() });
            report
        };
        let mut tally = Tally::default();
        for report in [at("02", "second"), at("03", "third"), at("01", "first")] {
            tally.add(report);
        }
        tally.add_unreadable();
        let text = render(&tally).unwrap();
        assert!(text.contains("incoming=\"third\"") && !text.contains("\"second\""), "{text}");
        assert!(text.contains("blackout_recordings{outcome=\"complete\"} 3\n"), "{text}");
        assert!(text.contains("blackout_recordings{outcome=\"unreadable\"} 1\n"), "{text}");
    }

    #[test]
    fn a_run_without_an_end_is_open_until_another_comes_after_it() {
        let open = |day: &str| {
            let mut report = report(Vec::new());
            report.run.recorded_at = format!("2026-11-{day}T00:00:00Z");
            report.outcome = Outcome::Partial;
            report
        };
        let mut done = report(Vec::new());
        done.run.recorded_at = "2026-11-02T00:00:00Z".to_owned();
        let mut tally = Tally::default();
        [open("01"), done, open("03")].into_iter().for_each(|report| tally.add(report));
        let text = render(&tally).unwrap();
        for (outcome, count) in [("complete", 1), ("partial", 1), ("open", 1)] {
            assert!(
                text.contains(&format!("blackout_recordings{{outcome=\"{outcome}\"}} {count}\n")),
                "{text}"
            );
        }
        assert!(text.contains("blackout_update_outcome{outcome=\"complete\"} 1\n"), "{text}");
    }

    #[test]
    fn no_recording_is_no_update_and_not_one_of_zero_seconds() {
        let text = render(&Tally::default()).unwrap();
        assert!(!text.contains("window_seconds") && text.ends_with("# EOF\n"), "{text}");
    }
}
