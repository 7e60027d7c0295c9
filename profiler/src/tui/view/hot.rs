//! Functions that are counted instead of streamed.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::screen::Screen, super::ui::Ui, clip, nothing, put};
use crate::report::{Hot, text::duration};

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let hot = screen.report.map_or(&[][..], |report| &report.hot);
    if hot.is_empty() {
        return nothing(buffer, area, screen, "no function was counted: there is nothing to show here");
    }
    let width = usize::from(area.width);
    let range_width = width.saturating_sub(22 + 10 + 9 + 12 * 5).clamp(8, 80);
    let longest = hot.iter().map(|hot| hot.max_ns).max().unwrap_or(1);
    let head = format!(
        "{:<22}{:<10}{:>9}{:>12}{:>12}{:>12}{:>12}{:>12} 1 ns {:>range_width$}",
        "function",
        "kernel",
        "calls",
        "total",
        "least",
        "half",
        "99 %",
        "most",
        duration(longest)
    );
    put(buffer, area, 0, Line::from(Span::styled(head, screen.theme.head())));
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let first = ui.scroll(hot.len(), usize::from(list.height));
    for (row, hot) in (0..list.height).zip(hot.iter().skip(first)) {
        let kernel = format!("{:?}", hot.kernel).to_lowercase();
        let times = [hot.total_ns, hot.min_ns, hot.p50_ns, hot.p99_ns, hot.max_ns];
        let times: String = times.iter().map(|ns| format!("{:>12}", duration(*ns))).collect();
        let line = Line::from(vec![
            Span::raw(format!("{:<22}", clip(&hot.probe, 21))),
            Span::styled(format!("{kernel:<10}"), screen.theme.kernel(hot.kernel)),
            Span::raw(format!("{:>9}{times} ", hot.count)),
            Span::styled(range(hot, longest, range_width + 5), screen.theme.cycle(1)),
        ]);
        put(buffer, list, row, line);
    }
}

/// Where the calls lie, on a logarithmic scale: least to most, thick from half to 99 %.
fn range(hot: &Hot, longest_ns: u64, width: usize) -> String {
    let log = |ns: u64| (ns.max(1) as f64).ln();
    let cell = |ns: u64| (log(ns) / log(longest_ns.max(2)) * width.saturating_sub(1) as f64).round() as usize;
    let (least, half, high, most) = (cell(hot.min_ns), cell(hot.p50_ns), cell(hot.p99_ns), cell(hot.max_ns));
    let at = |cell: usize| match cell {
        cell if cell == half => '#',
        cell if (half..=high).contains(&cell) => '=',
        cell if (least..=most).contains(&cell) => '-',
        _ => ' ',
    };
    (0..width).map(at).collect()
}
