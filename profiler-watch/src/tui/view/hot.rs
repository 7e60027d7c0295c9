//! Functions that are counted instead of streamed: a table, and the histogram of the selected one.

use profiler_report::{duration, render::hlog, report::Hot};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::screen::Screen, super::ui::Ui, bar, clip, nothing, put};

/// From this width on there is room for kernel, phase and extremes.
const WIDE: usize = 120;

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let hot = screen.report.map_or(&[][..], |report| &report.hot);
    if hot.is_empty() {
        let why = match screen.state.report {
            Some(_) => "no function was counted: there is nothing to show here",
            None => "what is counted comes with the report",
        };
        return nothing(buffer, area, screen, why);
    }
    let (theme, width) = (screen.theme, usize::from(area.width));
    let wide = width >= WIDE;
    let fixed = 9 + 12 * 3 + if wide { 10 + 16 + 12 * 2 } else { 0 };
    let name_width = width.saturating_sub(fixed + 1).clamp(16, 40);
    let extra = |text: String| if wide { text } else { String::new() };
    let head = format!(
        "{:<name_width$} {}{:>8}{:>12}{}{:>12}{:>12}{}",
        "function",
        extra(format!("{:<10}{:<16}", "kernel", "phase")),
        "calls",
        "total",
        extra(format!("{:>12}", "least")),
        "half",
        "99 %",
        extra(format!("{:>12}", "most")),
    );
    put(buffer, area, 0, Line::from(Span::styled(head, theme.head())));
    let rows = usize::from(area.height.saturating_sub(1) / 2).min(hot.len());
    let first = ui.fit(hot.len(), rows);
    for (row, at) in (1..=rows as u16).zip(first..) {
        let Some(hot) = hot.get(at) else { break };
        let kernel = format!("{:?}", hot.kernel).to_lowercase();
        let time = |ns: Option<u64>| format!("{:>12}", ns.map_or("-".to_owned(), duration));
        let line = Line::from(vec![
            Span::raw(format!("{:<name_width$} ", clip(&hot.probe, name_width))),
            Span::styled(extra(format!("{kernel:<10}")), theme.kernel(hot.kernel)),
            Span::styled(extra(format!("{:<16}", clip(&hot.phase, 15))), theme.phase(&hot.phase)),
            Span::raw(format!("{:>8}{}{}", hot.count, time(hot.total_ns), extra(time(hot.min_ns)))),
            Span::raw(format!("{}{}{}", time(hot.p50_ns), time(hot.p99_ns), extra(time(hot.max_ns)))),
        ]);
        put(buffer, area, row, line);
        if at == ui.row() {
            buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, theme.selected());
        }
    }
    let below = rows as u16 + 2;
    let Some(selected) = hot.get(ui.row()).filter(|_| below < area.height) else { return };
    let rest = Rect { y: area.y + below, height: area.height - below, ..area };
    histogram(buffer, rest, screen, selected);
}

/// Calls by how long they took: every row is twice as long as the one above it.
fn histogram(buffer: &mut Buffer, area: Rect, screen: &Screen, hot: &Hot) {
    let octaves = match hlog::decode(hot) {
        Ok(Some(histogram)) => hlog::octaves(&histogram),
        Ok(None) => {
            let by = hot.carried_by.as_deref().unwrap_or("the kernel");
            let line = format!("{}: {} tells how many; nobody timed them", hot.subject, by);
            return put(buffer, area, 0, Line::from(line));
        }
        Err(error) => {
            return put(buffer, area, 0, Line::from(Span::styled(error.to_string(), screen.theme.bad())));
        }
    };
    let kernel = format!("{:?}", hot.kernel).to_lowercase();
    let head = format!("{}, {kernel}, {}: time of a call", hot.probe, hot.phase);
    put(buffer, area, 0, Line::from(Span::styled(head, screen.theme.head())));
    let most = octaves.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let bar_width = usize::from(area.width).saturating_sub(28 + 10);
    let rows = usize::from(area.height.saturating_sub(1));
    // Where they do not all fit, the longest calls matter more.
    let left_out = octaves.len().saturating_sub(rows);
    for (row, (low, count)) in (1..).zip(octaves.iter().skip(left_out)) {
        let range = format!("{:>11} to {:>11}", duration(*low), duration(low.saturating_mul(2)));
        let line = Line::from(vec![
            Span::raw(format!("{range} {count:>9} ")),
            Span::styled(bar(*count as f64 / most as f64, bar_width), screen.theme.cycle(1)),
        ]);
        put(buffer, area, row, line);
    }
}
