//! The window as a still picture: what print and a page without script show.

use std::fmt::Write;

use crate::{
    duration,
    render::{display, xml::escape},
    report::{Phase, Report, Window},
};

/// Width of the window, in the picture's own units.
const WIDTH: f64 = 1_000.0;
const BAR: f64 = 34.0;
const ROW: f64 = 16.0;
/// Below this width a bar has no room for its number.
const NUMBERED: f64 = 16.0;

/// A bar of numbered phases, and one row for each guest that was dark; empty without a window.
pub fn svg(report: &Report) -> String {
    let Some(window) = &report.window else { return String::new() };
    let guests = report.vms.iter().filter(|vm| vm.start_ns.is_some() && vm.end_ns.is_some());
    let height = BAR + 8.0 + ROW * guests.clone().count() as f64;
    let mut out = format!(
        "<svg class=\"still\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"The window, {}, \
         divided into the phases of the table below\">",
        duration(window.duration_ns)
    );
    for (index, phase) in report.phases.iter().enumerate() {
        bar(&mut out, index, phase, window);
    }
    for (row, vm) in guests.enumerate() {
        let (from, to) = (scale(vm.start_ns.unwrap_or(0), window), scale(vm.end_ns.unwrap_or(0), window));
        let y = BAR + 8.0 + ROW * row as f64;
        let name = escape(&vm.name);
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "<rect class=\"guest\" x=\"{from:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\"/><text x=\"{:.2}\" y=\"{}\">{name}</text>",
            (to - from).max(0.5),
            ROW - 3.0,
            from + 4.0,
            y + 10.0
        );
    }
    out + "</svg>"
}

fn bar(out: &mut String, index: usize, phase: &Phase, window: &Window) {
    let x = scale(phase.start_ns, window);
    let width = WIDTH * phase.duration_ns as f64 / window.duration_ns.max(1) as f64;
    let class = if phase.id == "unobserved" { "unobserved" } else { display::kernel(phase.kernel) };
    let shade = if index.is_multiple_of(2) { "even" } else { "odd" };
    let (title, length) = (escape(&phase.title), duration(phase.duration_ns));
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "<rect class=\"{class} {shade}\" x=\"{x:.2}\" width=\"{:.2}\" height=\"{BAR}\"><title>{title}: {length}</title></rect>",
        width.max(0.3)
    );
    if width >= NUMBERED {
        let (x, y, number) = (x + width / 2.0, BAR / 2.0 + 4.0, index + 1);
        let _ = write!(
            out,
            "<text class=\"on-{class}\" x=\"{x:.2}\" y=\"{y}\" text-anchor=\"middle\">{number}</text>"
        );
    }
}

/// Where a time lies in the picture; outside it at its borders.
fn scale(at_ns: i64, window: &Window) -> f64 {
    (at_ns as f64 / window.duration_ns.max(1) as f64).clamp(0.0, 1.0) * WIDTH
}
