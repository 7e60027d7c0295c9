//! The report for a person at a terminal.

use std::fmt::{self, Write};

use crate::{
    duration,
    report::{Handover, Kernel, Outcome, Phase, ProbeState, Report, Span},
};

mod guests;
mod path;

/// Cells of a phase's bar.
const BAR: usize = 24;
/// Lines in the list of what was counted.
const COUNTED: usize = 24;
/// Spans in the list of the largest.
const LARGEST: usize = 10;

/// Renders the whole report; no colour, at most 100 columns but for names longer than that.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    head(out, report)?;
    failures(out, report)?;
    guests::write(out, report)?;
    phases(out, report)?;
    path::write(out, report)?;
    largest(out, report)?;
    counted(out, report)?;
    path::advice(out, report)?;
    foot(out, report)
}

fn head(out: &mut String, report: &Report) -> fmt::Result {
    let outcome = match report.outcome {
        Outcome::Complete => "complete",
        Outcome::Partial => "PARTIAL",
        Outcome::Failed => "FAILED",
    };
    let handover = match report.handover {
        Handover::Intact => "intact",
        Handover::Rejected => "REJECTED",
        Handover::Absent => "ABSENT",
    };
    let number = report.liveupdate_number.map(|number| format!(" {number}")).unwrap_or_default();
    writeln!(out, "live update{number}: {outcome}, flight recorder {handover}, run {}", report.run.id)?;
    let release = |kernel: &Option<Kernel>| kernel.as_ref().map_or("?", |k| k.release.as_str()).to_owned();
    let (from, to) = (release(&report.outgoing), release(&report.incoming));
    let run = &report.run;
    let memory = run.memory_bytes / (1 << 20);
    writeln!(
        out,
        "{from} -> {to} on {}, {} CPUs, {memory} MiB, {} node(s), {}",
        run.host, run.cpus, run.numa_nodes, run.recorded_at
    )?;
    match &report.window {
        Some(window) => {
            let (length, error) = (duration(window.duration_ns), duration(window.error_ns));
            let of = guests::name(report, window.vm.as_deref()).map(|name| format!(" {name}"));
            let definition = format!("{}{}", window.definition, of.unwrap_or_default());
            writeln!(out, "\nblackout window ({definition})  {length}  +- {error}")?;
            writeln!(out, "  from {}  to {}", window.start, window.end)
        }
        None => writeln!(out, "\nno window: the evidence holds none of its ends"),
    }
}

fn failures(out: &mut String, report: &Report) -> fmt::Result {
    let label = if report.outcome == Outcome::Failed { "FAILED" } else { "warning" };
    for failure in &report.failures {
        writeln!(out, "{label}  {}", failure.message)?;
    }
    Ok(())
}

fn phases(out: &mut String, report: &Report) -> fmt::Result {
    if report.phases.is_empty() {
        return Ok(());
    }
    let title = report.phases.iter().map(|phase| phase.title.chars().count()).max().unwrap_or(0).clamp(5, 52);
    writeln!(out, "\n{:<8}  {:<title$}  {:>10}  {:>6}  {:>9}", "kernel", "phase", "time", "share", "+-")?;
    let largest = report.phases.iter().map(|phase| phase.duration_ns).max().unwrap_or(1).max(1);
    for phase in &report.phases {
        let Phase { duration_ns, error_ns, share, .. } = phase;
        let kernel = format!("{:?}", phase.kernel).to_lowercase();
        let filled = (u128::from(*duration_ns) * BAR as u128).div_ceil(u128::from(largest)) as usize;
        writeln!(
            out,
            "{kernel:<8}  {:<title$}  {:>10}  {:>5.1}%  {:>9}  {}",
            clip(&phase.title, title),
            duration(*duration_ns),
            share * 100.0,
            duration(*error_ns),
            "#".repeat(filled.min(BAR)),
        )?;
    }
    Ok(())
}

fn largest(out: &mut String, report: &Report) -> fmt::Result {
    let mut spans: Vec<(&str, &Span)> = Vec::new();
    for phase in &report.phases {
        flatten(&phase.id, &phase.spans, &mut spans);
    }
    let own = |span: &Span| span.self_ns.unwrap_or(0);
    spans.sort_by_key(|(_, span)| std::cmp::Reverse(own(span)));
    spans.retain(|(_, span)| own(span) > 0);
    if spans.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nlargest spans, by their own time")?;
    for (phase, span) in spans.into_iter().take(LARGEST) {
        let subject = if span.subject.is_empty() { String::new() } else { format!(" [{}]", span.subject) };
        let who = span.comm.as_ref().map(|comm| format!("  {comm}")).unwrap_or_default();
        let total = span.duration_ns.map_or("?".to_owned(), duration);
        writeln!(
            out,
            "  {:>10} of {total:>10}  {phase:<15}  {}{subject}{who}",
            duration(own(span)),
            span.name
        )?;
    }
    Ok(())
}

/// Functions that are called once a page.
fn counted(out: &mut String, report: &Report) -> fmt::Result {
    if report.hot.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ncounted, not drawn")?;
    for hot in report.hot.iter().take(COUNTED) {
        let of = if hot.subject.is_empty() { String::new() } else { format!(" [{}]", hot.subject) };
        let kernel = format!("{:?}", hot.kernel).to_lowercase();
        write!(out, "  {:>10} x {}{of}  {kernel}, {}", hot.count, hot.probe, hot.phase)?;
        match (hot.total_ns, hot.p50_ns, hot.p99_ns, hot.max_ns) {
            (Some(total), Some(half), Some(high), Some(most)) => {
                let [total, half, high, most] = [total, half, high, most].map(duration);
                writeln!(out, "\n{:15}{total}: half {half}, 99 % {high}, longest {most}", "")?;
            }
            _ => {
                let order = hot.order.map(|order| format!(" of order {order}")).unwrap_or_default();
                let bytes = hot.bytes.map(|bytes| format!(", {bytes} bytes{order}")).unwrap_or_default();
                writeln!(out, "{bytes}, as {} tells", hot.carried_by.as_deref().unwrap_or("?"))?;
            }
        }
    }
    match report.hot.len().saturating_sub(COUNTED) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn flatten<'a>(phase: &'a str, spans: &'a [Span], into: &mut Vec<(&'a str, &'a Span)>) {
    for span in spans {
        into.push((phase, span));
        flatten(phase, &span.spans, into);
    }
}

fn foot(out: &mut String, report: &Report) -> fmt::Result {
    let clock = &report.clock;
    writeln!(out, "\nunobserved  {}", duration(report.unobserved_ns))?;
    if let (Some(attributed), Some(window)) = (report.attributed_ns, &report.window) {
        let share = attributed as f64 / window.duration_ns.max(1) as f64 * 100.0;
        writeln!(out, "attributed  {share:.2}% of the window, to spans and to phases that none divides")?;
    }
    for node in &report.deferred_pages {
        let pages = node.pages.map(|pages| format!(", {pages} pages")).unwrap_or_default();
        let rate = node.pages_per_second.map(|rate| format!(", {rate} a second")).unwrap_or_default();
        let time = duration(node.duration_ns);
        writeln!(out, "node {:<6} deferred page init {time}{pages}{rate}", node.node)?;
    }
    let mhz = clock.hz as f64 / 1e6;
    writeln!(out, "clock       {} at {mhz:.3} MHz, borders +- {}", clock.source, duration(clock.error_ns))?;
    let count = |value: Option<u64>| value.map_or("none kept".to_owned(), |value| value.to_string());
    let loss = &report.loss;
    writeln!(
        out,
        "loss        flight recorder {}, boot trace {}, kernel log {}, recording {}",
        count(loss.flight_recorder),
        count(loss.boot_trace),
        count(loss.kmsg),
        loss.recording,
    )?;
    for probe in &loss.per_probe {
        writeln!(out, "LOST        {} x {}: {}", probe.count, probe.probe, probe.reason)?;
    }
    let with = |state: ProbeState| report.coverage.iter().filter(|probe| probe.state == state).count();
    writeln!(
        out,
        "probes      {} fired, {} silent, {} missing, {} failed",
        with(ProbeState::Fired),
        with(ProbeState::Attached),
        with(ProbeState::Missing),
        with(ProbeState::Failed),
    )?;
    let overhead = &report.overhead;
    if let (Some(load), Some(attach), Some(inside)) =
        (overhead.load_ns, overhead.attach_ns, overhead.in_window_ns)
    {
        let (load, attach, inside) = (duration(load), duration(attach), duration(inside));
        writeln!(out, "looking     {load} to load, {attach} to attach, {inside} of it in the window")?;
    }
    if let (Some(runs), Some(ns), Some(inside)) =
        (overhead.probe_runs, overhead.probe_ns, overhead.probe_in_window_ns)
    {
        let (ns, inside) = (duration(ns), duration(inside));
        writeln!(out, "            {runs} runs of programs, {ns}, {inside} of it in the window")?;
    }
    if let (Some(runs), Some(ns)) = (overhead.hot_runs, overhead.hot_ns) {
        writeln!(out, "            {runs} runs that counted calls, some {}", duration(ns))?;
    }
    for command in &report.commands {
        writeln!(out, "command     {} (exit {})", command.argv.join(" "), command.exit_code)?;
    }
    for note in &report.notes {
        writeln!(out, "note        {note}")?;
    }
    Ok(())
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(3)).chain("...".chars()).collect()
}
