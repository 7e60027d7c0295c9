//! Lanes of nested spans, with the phases above them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{super::rows, super::screen::Screen, super::theme::Theme, super::ui::Ui, clip, nothing, put};
use crate::report::{Report, text::duration};

/// Cells of a lane's label.
const LABEL: u16 = 18;

/// What the timeline covers: first spans of the brownout to the end of the window; nanoseconds.
pub fn whole(report: &Report) -> Option<(i64, i64)> {
    let rows = rows::all(report);
    let starts = rows.iter().map(|row| row.span.start_ns);
    let ends =
        rows.iter().map(|row| row.span.start_ns.saturating_add_unsigned(row.span.duration_ns.unwrap_or(0)));
    let window = report.window.as_ref().map(|window| i64::try_from(window.duration_ns).unwrap_or(i64::MAX));
    let first = starts.chain(window.map(|_| 0)).min()?;
    let last = ends.chain(window).max()?;
    (last > first).then_some((first, last))
}

/// The part of it that is shown.
struct Scale {
    begin: f64,
    ns_per_cell: f64,
    width: u16,
}

impl Scale {
    fn cell(&self, ns: i64) -> i64 {
        ((ns as f64 - self.begin) / self.ns_per_cell).floor() as i64
    }

    /// Cells of a span, at least one; `None` if it is not in sight.
    fn cells(&self, start_ns: i64, duration_ns: u64) -> Option<(u16, u16)> {
        let width = i64::from(self.width);
        let first = self.cell(start_ns);
        let last = self.cell(start_ns.saturating_add_unsigned(duration_ns)).max(first.saturating_add(1));
        if last <= 0 || first >= width {
            return None;
        }
        Some((first.clamp(0, width) as u16, last.clamp(0, width) as u16))
    }
}

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let Some((report, (first, last))) = screen.report.and_then(|report| Some((report, whole(report)?)))
    else {
        return nothing(buffer, area, screen, "no call was seen yet");
    };
    let label = LABEL.min(area.width / 3);
    let width = area.width - label;
    let total = (last - first) as f64;
    let part = |ns: i64| ns.saturating_sub(first) as f64 / total;
    let window_ns =
        report.window.as_ref().map(|window| i64::try_from(window.duration_ns).unwrap_or(i64::MAX));
    // Before the window has begun there is all to see that there is.
    let window = window_ns.map_or((0.0, 1.0), |ns| (part(0), part(ns) - part(0)));
    let (begin, length) = ui.zoom(window);
    let scale = Scale {
        begin: first as f64 + begin * total,
        ns_per_cell: (length * total / f64::from(width.max(1))).max(1e-3),
        width,
    };
    let strip = Rect { x: area.x + label, width, ..area };
    axis(buffer, area, strip, &scale, screen);
    put(buffer, area, 1, Line::from(Span::styled("phases", screen.theme.head())));
    for phase in &report.phases {
        let text = format!("{} {}", Theme::letter(&phase.id), phase.id);
        block(
            buffer,
            strip,
            1,
            &scale,
            (phase.start_ns, phase.duration_ns),
            &text,
            screen.theme.phase(&phase.id),
        );
    }

    let lanes = rows::lanes(report, &ui.filter, ui.by_cpu);
    let below = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    let strip = Rect { y: below.y, height: below.height, ..strip };
    let depth: usize = lanes.iter().map(|lane| lane.rows.len()).sum();
    let scroll = ui.scroll(depth, usize::from(below.height));
    let all =
        lanes.iter().flat_map(|lane| lane.rows.iter().enumerate().map(move |(at, row)| (lane, at, row)));
    for (row, (lane, at, spans)) in (0..below.height).zip(all.skip(scroll)) {
        // Again at the top: a label that has scrolled away says nothing.
        if at == 0 || row == 0 {
            let text = clip(&lane.label, usize::from(label.saturating_sub(1)));
            put(
                buffer,
                Rect { width: label, ..below },
                row,
                Line::from(Span::styled(text, screen.theme.kernel(lane.kernel))),
            );
        }
        for span in spans {
            let style =
                if span.phase.is_empty() { screen.theme.dim() } else { screen.theme.phase(span.phase) };
            let text = match span.span.subject.as_str() {
                "" => span.span.name.clone(),
                subject => format!("{} {subject}", span.span.name),
            };
            let place = (span.span.start_ns, span.span.duration_ns.unwrap_or(0));
            block(buffer, strip, row, &scale, place, &text, style);
        }
    }
}

/// A span: its name between brackets if there is room, else as much as fits.
fn block(
    buffer: &mut Buffer,
    strip: Rect,
    row: u16,
    scale: &Scale,
    place: (i64, u64),
    text: &str,
    style: Style,
) {
    let Some((from, to)) = scale.cells(place.0, place.1).filter(|_| row < strip.height) else { return };
    let width = usize::from(to - from);
    let text = match width {
        0 => return,
        1 => "|".to_owned(),
        2 => "[]".to_owned(),
        _ => format!("[{:-<1$}]", clip(text, width - 2), width - 2),
    };
    buffer.set_stringn(strip.x + from, strip.y + row, text, width, style);
}

fn axis(buffer: &mut Buffer, area: Rect, strip: Rect, scale: &Scale, screen: &Screen) {
    put(
        buffer,
        area,
        0,
        Line::from(Span::styled(
            duration((scale.ns_per_cell * f64::from(scale.width)) as u64),
            screen.theme.dim(),
        )),
    );
    const EVERY: u16 = 16;
    for cell in (0..scale.width.saturating_sub(EVERY / 2)).step_by(usize::from(EVERY)) {
        let ns = scale.begin + f64::from(cell) * scale.ns_per_cell;
        let sign = if ns < 0.0 { "-" } else { "" };
        let text = format!("|{sign}{}", duration(ns.abs() as u64));
        buffer.set_stringn(strip.x + cell, strip.y, text, usize::from(EVERY - 1), screen.theme.dim());
    }
}
