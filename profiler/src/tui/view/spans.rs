//! The table of spans.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::rows, super::screen::Screen, super::ui::Ui, clip, nothing, put};
use crate::report::text::duration;

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let Some(report) = screen.report else {
        return nothing(buffer, area, screen, "no call was seen yet");
    };
    let rows = rows::table(report, &ui.filter, ui.order, ui.reverse);
    let list = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    let first = ui.fit(rows.len(), usize::from(list.height));
    let way = if ui.reverse { ", the other way round" } else { "" };
    let number = if rows.is_empty() { 0 } else { ui.row() + 1 };
    let head = format!("{number} of {} spans, by {}{way}", rows.len(), ui.order.name());
    put(buffer, area, 0, Line::from(Span::styled(head, screen.theme.dim())));
    let width = usize::from(area.width);
    let name_width = width.saturating_sub(12 + 12 + 13 + 17 + 18 + 8).max(16);
    let head = format!(
        "{:>11} {:>11} {:>12} {:<16} {:<name_width$} {:<17} {:>6}",
        "own", "total", "begin", "phase", "span", "task", "ret"
    );
    put(buffer, area, 1, Line::from(Span::styled(head, screen.theme.head())));
    for (row, at) in (0..list.height).zip(first..) {
        let Some(found) = rows.get(at) else { break };
        let span = found.span;
        let known = |ns: Option<u64>| ns.map_or("?".to_owned(), duration);
        let begin = format!("{:.3} ms", span.start_ns as f64 / 1e6);
        let name = match span.subject.as_str() {
            "" => span.name.clone(),
            subject => format!("{} [{subject}]", span.name),
        };
        let task = match (&span.comm, span.pid) {
            (Some(comm), Some(pid)) => format!("{comm} {pid}"),
            (None, Some(pid)) => pid.to_string(),
            _ => "-".to_owned(),
        };
        let phase = if found.phase.is_empty() { "brownout" } else { found.phase };
        let style = if found.phase.is_empty() { screen.theme.dim() } else { screen.theme.phase(found.phase) };
        let failed = span.retval.is_some_and(|retval| retval < 0);
        let line = Line::from(vec![
            Span::styled(format!("{:>11} ", known(span.self_ns)), screen.theme.head()),
            Span::raw(format!("{:>11} {begin:>12} ", known(span.duration_ns))),
            Span::styled(format!("{:<16} ", clip(phase, 16)), style),
            Span::raw(format!("{:<name_width$} {:<17} ", clip(&name, name_width), clip(&task, 17))),
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
}
