//! The figures of the page, as tables that need no script.

use std::fmt::Write;

use super::histogram;
use crate::{
    catalogue::Place,
    duration,
    render::{display, hlog, lanes::Item, xml::escape},
    report::{Kernel, Outcome, ProbeState, Report},
};

/// Spans in the list of the largest.
const LARGEST: usize = 25;
/// Links of a phase that the table of critical paths has.
const LINKS: usize = 5;
/// Longest name in a cell, in characters; all of it is in the data and in the other formats.
const NAME: usize = 160;

/// A table under construction; cells are escaped here.
struct Table {
    html: String,
}

/// What a cell holds.
enum Cell<'a> {
    Text(&'a str),
    /// Right-aligned.
    Figure(String),
    /// A name that leads to its place in the timeline: text, start, length.
    Place(&'a str, i64, u64),
    /// Markup made here.
    Markup(String),
}

impl Table {
    fn new(caption: &str, heads: &[&str]) -> Self {
        let mut html = format!("<div class=\"scroll\"><table><caption>{caption}</caption><thead><tr>");
        for head in heads {
            let class = if head.ends_with('>') { " class=\"figure\"" } else { "" };
            html += &format!("<th scope=\"col\"{class}>{}</th>", escape(head.trim_end_matches('>')));
        }
        html += "</tr></thead><tbody>\n";
        Self { html }
    }

    fn row(&mut self, class: &str, cells: &[Cell]) {
        self.html += &if class.is_empty() { "<tr>".to_owned() } else { format!("<tr class=\"{class}\">") };
        for cell in cells {
            self.html += &match cell {
                Cell::Text(text) => format!("<td>{}</td>", brief(text)),
                Cell::Figure(text) => format!("<td class=\"figure\">{}</td>", escape(text)),
                Cell::Place(text, start, length) => format!(
                    "<td><a href=\"#timeline\" data-start=\"{start}\" data-length=\"{length}\">{}</a></td>",
                    brief(text)
                ),
                Cell::Markup(html) => format!("<td>{html}</td>"),
            };
        }
        self.html += "</tr>\n";
    }

    fn done(self) -> String {
        self.html + "</tbody></table></div>"
    }
}

/// Escaped, and cut with a count if it is long.
pub fn brief(text: &str) -> String {
    let long = text.chars().count();
    if long <= NAME {
        return escape(text).into_owned();
    }
    let kept: String = text.chars().take(NAME).collect();
    format!("{}<small> ... (+{} characters)</small>", escape(&kept), long - NAME)
}

fn known(ns: Option<u64>) -> String {
    ns.map_or("unknown".to_owned(), duration)
}

/// The head's small facts; what is wrong is marked.
pub fn facts(report: &Report) -> String {
    let mut html = String::new();
    let mut fact = |bad: bool, name: &str, value: &str| {
        let class = if bad { " class=\"bad\"" } else { "" };
        // Writing to a String does not fail.
        let _ = write!(html, "<div{class}><dt>{name}</dt><dd>{}</dd></div>", brief(value));
    };
    fact(report.outcome != Outcome::Complete, "outcome", display::outcome(report));
    fact(display::handover(report) != "intact", "flight recorder", display::handover(report));
    let lost = report.loss.total();
    fact(lost > 0, "lost", &if lost == 0 { "nothing".to_owned() } else { format!("{lost} records") });
    fact(report.unobserved_ns > 0, "unobserved", &duration(report.unobserved_ns));
    fact(false, "clock", &format!("{} {:.3} MHz", report.clock.source, report.clock.hz as f64 / 1e6));
    fact(false, "borders", &format!("\u{b1} {}", duration(report.clock.error_ns)));
    let run = &report.run;
    let memory = run.memory_bytes >> 20;
    fact(
        false,
        "machine",
        &format!("{}, {} CPUs, {memory} MiB, NUMA nodes: {}", run.host, run.cpus, run.numa_nodes),
    );
    fact(false, "recorded", &run.recorded_at);
    fact(false, "run", &run.id);
    html
}

/// Failures, losses and notes, as a list; empty if there is nothing to warn of.
pub fn warnings(report: &Report) -> String {
    let failures = report.failures.iter().map(|failure| failure.message.clone());
    let lines: Vec<String> =
        failures.chain(display::lost(report)).chain(report.notes.iter().cloned()).collect();
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", brief(line))).collect();
    format!("<ul class=\"warnings\" aria-label=\"Warnings\">{items}</ul>")
}

/// The partition.
pub fn phases(report: &Report) -> String {
    let mut table =
        Table::new("Phases", &["#>", "Kernel", "Phase", "Time>", "Share>", "\u{b1}>", "", "Begins with"]);
    let largest = report.phases.iter().map(|phase| phase.duration_ns).max().unwrap_or(1).max(1);
    for (index, phase) in report.phases.iter().enumerate() {
        let class = if phase.id == "unobserved" { "unobserved" } else { display::kernel(phase.kernel) };
        let width = phase.duration_ns as f64 / largest as f64 * 120.0;
        let bar = format!(
            "<svg class=\"bar\" viewBox=\"0 0 120 10\" width=\"120\" height=\"10\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"{width:.2}\" height=\"10\"/></svg>"
        );
        table.row(
            class,
            &[
                Cell::Figure((index + 1).to_string()),
                Cell::Text(display::kernel(phase.kernel)),
                Cell::Place(&phase.title, phase.start_ns, phase.duration_ns),
                Cell::Figure(duration(phase.duration_ns)),
                Cell::Figure(format!("{:.1} %", phase.share * 100.0)),
                Cell::Figure(duration(phase.error_ns)),
                Cell::Markup(bar),
                Cell::Text(&phase.begins_with),
            ],
        );
    }
    if let Some(window) = &report.window {
        let title = format!("window ({})", window.definition);
        let borders = format!("{}, up to {}", window.start, window.end);
        table.row(
            "sum",
            &[
                Cell::Text(""),
                Cell::Text(""),
                Cell::Place(&title, 0, window.duration_ns),
                Cell::Figure(duration(window.duration_ns)),
                Cell::Figure("100.0 %".to_owned()),
                Cell::Figure(duration(window.error_ns)),
                Cell::Text(""),
                Cell::Text(&borders),
            ],
        );
    }
    table.done()
}

/// Guests, their vCPUs, and marks; empty if there are none.
pub fn guests(report: &Report) -> String {
    let mut html = String::new();
    if !report.vms.is_empty() {
        let mut table = Table::new("Guests", &["Guest", "Dark for>", "\u{b1}>", "Status", "Why"]);
        for vm in &report.vms {
            let why = vm.why.as_deref().unwrap_or("");
            let name = match (vm.start_ns, vm.blackout_ns) {
                (Some(start), Some(length)) => Cell::Place(&vm.name, start, length),
                _ => Cell::Text(&vm.name),
            };
            let (length, error) = (Cell::Figure(known(vm.blackout_ns)), Cell::Figure(known(vm.error_ns)));
            table.row("", &[name, length, error, Cell::Text(display::status(vm.status)), Cell::Text(why)]);
            for vcpu in &vm.vcpus {
                let name = format!("vCPU {}", vcpu.id);
                let (length, error) =
                    (Cell::Figure(known(vcpu.pause_ns)), Cell::Figure(known(vcpu.error_ns)));
                table.row("inner", &[Cell::Text(&name), length, error, Cell::Text("paused"), Cell::Text("")]);
            }
        }
        html += &table.done();
    }
    if !report.marks.is_empty() {
        let mut table = Table::new("Marks", &["At>", "\u{b1}>", "Kernel", "Mark", "Guest"]);
        for mark in &report.marks {
            let sign = if mark.at_ns < 0 { "-" } else { "" };
            let at = Cell::Figure(format!("{sign}{}", duration(mark.at_ns.unsigned_abs())));
            let name = Cell::Place(&mark.name, mark.at_ns, 0);
            let (kernel, vm) = (display::kernel(mark.kernel), mark.vm.as_deref().unwrap_or(""));
            table.row(
                "",
                &[at, Cell::Figure(duration(mark.error_ns)), Cell::Text(kernel), name, Cell::Text(vm)],
            );
        }
        html += &table.done();
    }
    html
}

/// What each phase waited for; empty if that is not known.
pub fn chain(report: &Report) -> String {
    let mut table = Table::new(
        "Critical path: what each phase waited for",
        &["Phase", "Own>", "Span", "Whose", "Kind", "Task>"],
    );
    for phase in &report.phases {
        for (row, link) in phase.chain.iter().take(LINKS).enumerate() {
            let id = if row == 0 { phase.id.as_str() } else { "" };
            let task = link.pid.map(|pid| pid.to_string()).unwrap_or_default();
            table.row(
                if row == 0 { "" } else { "inner" },
                &[
                    Cell::Text(id),
                    Cell::Figure(duration(link.own_ns)),
                    Cell::Text(&link.name),
                    Cell::Text(&link.subject),
                    Cell::Text(&link.kind),
                    Cell::Figure(task),
                ],
            );
        }
    }
    if report.phases.iter().all(|phase| phase.chain.is_empty()) { String::new() } else { table.done() }
}

/// The spans with the most time of their own.
pub fn largest(report: &Report) -> String {
    let mut table = Table::new(
        "Largest spans, by their own time",
        &["Own>", "Total>", "Phase", "Span", "Whose", "Kind", "Task", "CPU>", "Returned>"],
    );
    let items = display::largest(report, LARGEST);
    for Item { span, phase, .. } in &items {
        let phase = phase.and_then(|index| report.phases.get(index)).map_or("", |phase| &phase.id);
        let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        table.row(
            if span.critical { "critical" } else { "" },
            &[
                Cell::Figure(known(span.self_ns)),
                Cell::Figure(known(span.duration_ns)),
                Cell::Text(phase),
                Cell::Place(&span.name, span.start_ns, span.duration_ns.unwrap_or(0)),
                Cell::Text(&span.subject),
                Cell::Text(&span.kind),
                Cell::Text(span.comm.as_deref().unwrap_or("")),
                Cell::Figure(number(span.cpu.map(i64::from))),
                Cell::Figure(number(span.retval)),
            ],
        );
    }
    if items.is_empty() { "<p>No span in the window has a duration.</p>".to_owned() } else { table.done() }
}

/// Functions that were counted, with their histograms; empty if there are none.
pub fn hot(report: &Report) -> String {
    if report.hot.is_empty() {
        return String::new();
    }
    let heads = [
        "Kernel",
        "Phase",
        "Function",
        "Of",
        "Calls>",
        "Total>",
        "Min>",
        "p50>",
        "p99>",
        "Max>",
        "Time of a call",
    ];
    let mut table = Table::new("Hot paths: counted, not drawn", &heads);
    for hot in &report.hot {
        let picture = match hlog::decode(hot) {
            Ok(Some(histogram)) => histogram::svg(&hlog::octaves(&histogram)),
            Ok(None) => "<small>not timed</small>".to_owned(),
            Err(_) => "<small>histogram unreadable</small>".to_owned(),
        };
        let [total, min, p50, p99, max] = [hot.total_ns, hot.min_ns, hot.p50_ns, hot.p99_ns, hot.max_ns]
            .map(|ns| Cell::Figure(ns.map(duration).unwrap_or_default()));
        let [kernel, phase, probe, subject] =
            [display::kernel(hot.kernel), &hot.phase, &hot.probe, &hot.subject].map(Cell::Text);
        let calls = Cell::Figure(hot.count.to_string());
        table.row(
            "",
            &[kernel, phase, probe, subject, calls, total, min, p50, p99, max, Cell::Markup(picture)],
        );
    }
    table.done()
}

/// What could be shorter; empty if nothing is known.
pub fn advice(report: &Report) -> String {
    if report.advice.is_empty() {
        return String::new();
    }
    let mut table = Table::new("What could be shorter", &["Saving>", "Phase", "Evidence", "How"]);
    for advice in &report.advice {
        let saving = Cell::Figure(duration(advice.saving_ns));
        table
            .row("", &[saving, Cell::Text(&advice.phase), Cell::Text(&advice.text), Cell::Text(&advice.how)]);
    }
    table.done()
}

/// Loss, place by place, and what looking has cost.
pub fn loss(report: &Report) -> String {
    let mut table = Table::new("Loss", &["Where", "Records lost>"]);
    for (place, count) in display::losses(report) {
        let class = if count.is_some_and(|count| count > 0) { "bad" } else { "" };
        let count = count.map_or("not in this run".to_owned(), |count| count.to_string());
        table.row(class, &[Cell::Text(&place), Cell::Figure(count)]);
    }
    let mut cost = Table::new("Cost of looking", &["What", "Cost>"]);
    let overhead = &report.overhead;
    let rows = [
        ("loading the programs", overhead.load_ns),
        ("attaching them", overhead.attach_ns),
        ("of both, in the window (beside the restore)", overhead.in_window_ns),
        ("programs at work", overhead.probe_ns),
    ];
    for (what, ns) in rows {
        cost.row("", &[Cell::Text(what), Cell::Figure(known(ns))]);
    }
    let runs = overhead.probe_runs.map_or("unknown".to_owned(), |runs| runs.to_string());
    cost.row("", &[Cell::Text("runs of the programs"), Cell::Figure(runs)]);
    format!("<div class=\"pair\">{}{}</div>", table.done(), cost.done())
}

/// Every probe that was wanted.
pub fn coverage(report: &Report) -> String {
    let mut table = Table::new(
        "Coverage",
        &["Kernel", "Family", "Probe", "Symbol", "Method", "State", "Hits>", "Reason"],
    );
    for probe in &report.coverage {
        let (state, class) = match probe.state {
            ProbeState::Fired => ("fired", ""),
            ProbeState::Attached => ("silent", "quiet"),
            ProbeState::Missing => ("missing", "quiet"),
            ProbeState::Failed => ("FAILED", "bad"),
        };
        table.row(
            class,
            &[
                Cell::Text(display::kernel(probe.kernel)),
                Cell::Text(&probe.family),
                Cell::Text(&probe.probe),
                Cell::Text(probe.symbol.as_deref().unwrap_or("")),
                Cell::Text(&probe.method),
                Cell::Text(state),
                Cell::Figure(probe.hits.to_string()),
                Cell::Text(probe.reason.as_deref().unwrap_or("")),
            ],
        );
    }
    table.done()
}

/// Both kernels and what ran beside the recorder.
pub fn kernels(report: &Report) -> String {
    let mut html = String::new();
    let mut table = Table::new("Kernels", &["", "Outgoing", "Incoming"]);
    type Field = fn(&Kernel) -> &String;
    let fields: [(&str, Field); 5] = [
        ("release", |kernel| &kernel.release),
        ("version", |kernel| &kernel.version),
        ("build id", |kernel| &kernel.build_id),
        ("configuration (SHA-256)", |kernel| &kernel.config_sha256),
        ("command line", |kernel| &kernel.cmdline),
    ];
    for (name, field) in fields {
        let [from, to] = [&report.outgoing, &report.incoming]
            .map(|kernel| kernel.as_ref().map_or("unknown", |kernel| field(kernel).as_str()));
        // Whole: it is what somebody will want to copy.
        let whole = |text: &str| Cell::Markup(format!("<span class=\"code\">{}</span>", escape(text)));
        table.row("", &[Cell::Text(name), whole(from), whole(to)]);
    }
    html += &table.done();
    if !report.commands.is_empty() {
        let mut table = Table::new("Commands", &["Kernel", "Command", "Exit code>", "At>", "Time>"]);
        for command in &report.commands {
            let line = command.argv.join(" ");
            table.row(
                if command.exit_code == 0 { "" } else { "bad" },
                &[
                    Cell::Text(display::kernel(command.kernel)),
                    Cell::Place(&line, command.start_ns, command.duration_ns),
                    Cell::Figure(command.exit_code.to_string()),
                    Cell::Figure(duration(command.start_ns.unsigned_abs())),
                    Cell::Figure(duration(command.duration_ns)),
                ],
            );
        }
        html += &table.done();
    }
    html
}

/// How many probes are in which state, in words.
pub fn coverage_summary(report: &Report) -> String {
    let with = |place: Place, state| {
        report.coverage.iter().filter(|probe| probe.kernel == place && probe.state == state).count()
    };
    let words = [Place::Outgoing, Place::Incoming].map(|place| {
        format!(
            "{}: {} fired, {} silent, {} missing, {} failed",
            display::kernel(place),
            with(place, ProbeState::Fired),
            with(place, ProbeState::Attached),
            with(place, ProbeState::Missing),
            with(place, ProbeState::Failed)
        )
    });
    words.join("; ")
}
