//! The table of spans, and all that is known of the selected one.

use profiler_report::duration;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    super::rows::{self, Row},
    super::screen::Screen,
    super::ui::Ui,
    clip, name, nothing, put,
};

/// From this width on there is room for a span's begin and task; else the last row has them.
const WIDE: usize = 110;

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let Some(report) = screen.report else {
        return nothing(buffer, area, screen, "no call was seen yet");
    };
    let rows = rows::table(report, &ui.filter, ui.order, ui.reverse);
    let list = Rect { y: area.y + 2, height: area.height.saturating_sub(3), ..area };
    let first = ui.fit(rows.len(), usize::from(list.height));
    let way = if ui.reverse { ", the other way round" } else { "" };
    let number = if rows.is_empty() { 0 } else { ui.row() + 1 };
    let is_critical = rows.iter().any(|row| row.span.critical);
    let star = if is_critical { "; * is on the chain that ended its phase" } else { "" };
    let head = format!("{number} of {} spans, by {}{way}{star}", rows.len(), ui.order.name());
    put(buffer, area, 0, Line::from(Span::styled(head, screen.theme.dim())));
    let width = usize::from(area.width);
    let wide = width >= WIDE;
    let phase_width = if wide { 16 } else { 12 };
    let others = 12 + 12 + phase_width + 1 + 8 + if wide { 13 + 18 } else { 0 };
    let name_width = width.saturating_sub(others).max(16);
    let begin = |text: &str| if wide { format!("{text:>12} ") } else { String::new() };
    let task = |text: &str| if wide { format!("{:<17} ", clip(text, 17)) } else { String::new() };
    let head = format!(
        "{:>11} {:>11} {}{:<phase_width$} {:<name_width$} {}{:>6}",
        "own",
        "total",
        begin("begin"),
        "phase",
        "span",
        task("task"),
        "ret"
    );
    put(buffer, area, 1, Line::from(Span::styled(head, screen.theme.head())));
    for (row, at) in (0..list.height).zip(first..) {
        let Some(found) = rows.get(at) else { break };
        let span = found.span;
        let phase = phase(found);
        let style = if found.phase.is_empty() { screen.theme.dim() } else { screen.theme.phase(found.phase) };
        let failed = span.retval.is_some_and(|retval| retval < 0);
        // Said by a sign too: a terminal may not underline.
        let name = if span.critical { format!("*{}", name(span)) } else { name(span) };
        let line = Line::from(vec![
            Span::styled(format!("{:>11} ", known(span.self_ns)), screen.theme.head()),
            Span::raw(format!("{:>11} {}", known(span.duration_ns), begin(&at_ms(span.start_ns)))),
            Span::styled(format!("{:<phase_width$} ", clip(phase, phase_width)), style),
            Span::raw(format!("{:<name_width$} {}", clip(&name, name_width), task(&of_task(found)))),
            Span::styled(
                format!("{:>6}", span.retval.map_or("-".to_owned(), |retval| retval.to_string())),
                if failed { screen.theme.bad() } else { ratatui::style::Style::new() },
            ),
        ]);
        put(buffer, list, row, line);
        if at == ui.row() {
            let whole = Rect { y: list.y + row, height: 1, ..list };
            buffer.set_style(whole, screen.theme.selected());
        }
    }
    if let Some(found) = rows.get(ui.row()) {
        put(buffer, area, area.height - 1, Line::from(Span::styled(detail(found), screen.theme.dim())));
    }
}

fn known(ns: Option<u64>) -> String {
    ns.map_or("?".to_owned(), duration)
}

fn at_ms(ns: i64) -> String {
    format!("{:.3} ms", ns as f64 / 1e6)
}

fn phase<'a>(row: &Row<'a>) -> &'a str {
    if row.phase.is_empty() { "brownout" } else { row.phase }
}

fn of_task(row: &Row) -> String {
    match (&row.span.comm, row.span.pid) {
        (Some(comm), Some(pid)) => format!("{comm} {pid}"),
        (None, Some(pid)) => pid.to_string(),
        _ => "-".to_owned(),
    }
}

/// What the columns have no room for comes first.
fn detail(row: &Row) -> String {
    let span = row.span;
    let cpu = span.cpu.map_or(String::new(), |cpu| format!(", cpu {cpu}"));
    let critical = if span.critical { ", on the chain that ended its phase" } else { "" };
    let (at, task) = (at_ms(span.start_ns), of_task(row));
    format!("at {at}, task {task}{cpu}, {}{critical}: {}", span.kind, name(span))
}
