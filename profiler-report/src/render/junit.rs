//! JUnit XML: a test case for each phase, so that CI draws their times; one more for the live update
//! itself. A phase fails if something failed while it ran, and is skipped if no evidence covers it.

use std::fmt::{self, Write};

use super::{display, xml::escape};
use crate::report::{Failure, Outcome, Phase, Report};

/// Renders one suite.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    let within = |failure: &&Failure, phase: &Phase| {
        let end = phase.start_ns.saturating_add(i64::try_from(phase.duration_ns).unwrap_or(i64::MAX));
        failure.at_ns.is_some_and(|at| (phase.start_ns..end).contains(&at))
    };
    // What failed in a live update that worked all the same is a warning, and no test's failure.
    let of = |phase: &Phase| {
        let failed = report.outcome == Outcome::Failed;
        report.failures.iter().filter(|failure| failed && within(failure, phase)).collect::<Vec<_>>()
    };
    let failed = report.phases.iter().filter(|phase| !of(phase).is_empty()).count();
    let failures = failed + usize::from(report.outcome != Outcome::Complete);
    let unobserved = |phase: &&Phase| phase.id == "unobserved" && of(phase).is_empty();
    let skipped = report.phases.iter().filter(unobserved).count();
    let time = report.window.as_ref().map_or(0, |window| window.duration_ns);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>")?;
    writeln!(
        out,
        "<testsuite name=\"blackout {}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{}\" timestamp=\"{}\" hostname=\"{}\">",
        escape(&display::releases(report)),
        report.phases.len() + 1,
        seconds(time),
        escape(report.run.recorded_at.trim_end_matches('Z')),
        escape(&report.run.host),
    )?;
    properties(out, report)?;
    update(out, report, time)?;
    for phase in &report.phases {
        let (class, name) = (display::kernel(phase.kernel), escape(&phase.title));
        write!(
            out,
            "<testcase classname=\"blackout.{class}\" name=\"{name}\" time=\"{}\"",
            seconds(phase.duration_ns)
        )?;
        let failures = of(phase);
        if !failures.is_empty() {
            writeln!(out, ">")?;
            for failure in failures {
                let (kind, message) = (escape(&failure.function), escape(&failure.message));
                writeln!(out, "<failure type=\"{kind}\" message=\"{message}\"/>")?;
            }
            writeln!(out, "</testcase>")?;
        } else if phase.id == "unobserved" {
            writeln!(out, "><skipped message=\"no evidence covers this time\"/></testcase>")?;
        } else {
            writeln!(out, "/>")?;
        }
    }
    writeln!(out, "</testsuite>\n</testsuites>")
}

fn properties(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "<properties>")?;
    let properties = [
        ("run", report.run.id.clone()),
        ("window", report.window.as_ref().map(|window| window.definition.clone()).unwrap_or_default()),
        (
            "window_error_ns",
            report.window.as_ref().map(|window| window.error_ns.to_string()).unwrap_or_default(),
        ),
        ("handover", display::handover(report).to_owned()),
        ("unobserved_ns", report.unobserved_ns.to_string()),
        ("lost_records", report.loss.total().to_string()),
    ];
    for (name, value) in properties {
        writeln!(out, "<property name=\"{name}\" value=\"{}\"/>", escape(&value))?;
    }
    writeln!(out, "</properties>")
}

/// The case of the live update as a whole.
fn update(out: &mut String, report: &Report, time: u64) -> fmt::Result {
    writeln!(out, "<testcase classname=\"blackout\" name=\"live update\" time=\"{}\">", seconds(time))?;
    if report.outcome != Outcome::Complete {
        let messages: Vec<&str> = report.failures.iter().map(|failure| failure.message.as_str()).collect();
        let notes: Vec<&str> = report.notes.iter().map(String::as_str).collect();
        let (kind, words) = (display::outcome(report), [messages, notes].concat());
        let message = words.first().copied().unwrap_or("the evidence is not whole");
        writeln!(
            out,
            "<failure type=\"{kind}\" message=\"{}\">{}</failure>",
            escape(message),
            escape(&words.join("; "))
        )?;
    }
    if let Some(lost) = display::lost(report) {
        writeln!(out, "<system-out>{}</system-out>", escape(&lost))?;
    }
    writeln!(out, "</testcase>")
}

/// Seconds to the nanosecond.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}
