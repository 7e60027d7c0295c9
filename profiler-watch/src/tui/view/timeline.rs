//! Lanes of nested spans, with the phases above them.

use profiler_report::{
    duration,
    report::{Phase, Report, Vm},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    super::rows, super::screen::Screen, super::theme::Theme, super::ui::Ui, clip, name, nothing, put,
};

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

    /// Where a span is drawn, in at least one cell; `None` if it is not in sight.
    fn block(
        &self,
        start_ns: i64,
        duration_ns: u64,
        style: Style,
        text: impl FnOnce() -> String,
    ) -> Option<Block> {
        let width = i64::from(self.width);
        let first = self.cell(start_ns);
        let last = self.cell(start_ns.saturating_add_unsigned(duration_ns)).max(first.saturating_add(1));
        if last <= 0 || first >= width {
            return None;
        }
        let (from, to) = (first.clamp(0, width) as u16, last.clamp(0, width) as u16);
        Some(Block { from, to, text: text(), style })
    }
}

/// Something in a row: its cells, its text, its looks.
struct Block {
    from: u16,
    to: u16,
    text: String,
    style: Style,
}

/// A row of the picture: those of it that are in sight.
struct Row {
    lane: usize,
    label: String,
    style: Style,
    blocks: Vec<Block>,
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
    let phase = |phase: &Phase| {
        let text = || format!("{} {}", Theme::letter(&phase.id), phase.id);
        scale.block(phase.start_ns, phase.duration_ns, screen.theme.phase(&phase.id), text)
    };
    let phases: Vec<Block> = report.phases.iter().filter_map(phase).collect();
    blocks(buffer, strip, 1, &phases);

    let below = Rect { y: area.y + 2, height: area.height.saturating_sub(2), ..area };
    let strip = Rect { y: below.y, height: below.height, ..strip };
    let mut rows = guests(report, &scale, screen.theme);
    rows.extend(lanes(&rows::lanes(report, &ui.filter, ui.by_cpu), &scale, screen.theme));
    let all = rows.len();
    rows.retain(|row| !row.blocks.is_empty());
    let scroll = ui.scroll(rows.len(), usize::from(below.height));
    let mut last = None;
    for (place, row) in (0..below.height).zip(rows.iter().skip(scroll)) {
        // Once for all rows of a lane; again at the top, where the first may have scrolled away.
        if last != Some((row.lane, &row.label)) {
            let text = clip(&row.label, usize::from(label.saturating_sub(1)));
            let text = Line::from(Span::styled(text, row.style));
            put(buffer, Rect { width: label, ..below }, place, text);
            last = Some((row.lane, &row.label));
        }
        blocks(buffer, strip, place, &row.blocks);
    }
    let shown = u16::try_from(rows.len()).unwrap_or(u16::MAX);
    if rows.len() < all && shown < below.height {
        let text = format!("{} rows have nothing here", all - rows.len());
        put(buffer, below, shown, Line::from(Span::styled(text, screen.theme.dim())));
    }
}

/// A row for each guest's window.
fn guests(report: &Report, scale: &Scale, theme: Theme) -> Vec<Row> {
    let row = |(index, vm): (usize, &Vm)| {
        let (start_ns, duration_ns, style) = (vm.start_ns?, vm.blackout_ns?, theme.cycle(index));
        let text = || format!("dark for {}", duration(duration_ns));
        let blocks = scale.block(start_ns, duration_ns, style, text).into_iter().collect();
        Some(Row { lane: index, label: format!("guest {}", vm.name), style, blocks })
    };
    report.vms.iter().enumerate().filter_map(row).collect()
}

fn lanes(lanes: &[rows::Lane], scale: &Scale, theme: Theme) -> Vec<Row> {
    let block = |row: &rows::Row| {
        let span = row.span;
        let style = if row.phase.is_empty() { theme.dim() } else { theme.phase(row.phase) };
        let style = if span.critical { theme.critical(style) } else { style };
        scale.block(span.start_ns, span.duration_ns.unwrap_or(0), style, || name(span))
    };
    let rows = lanes.iter().enumerate();
    let rows = rows.flat_map(|(at, lane)| lane.rows.iter().map(move |spans| (at, lane, spans)));
    rows.map(|(at, lane, spans)| Row {
        lane: at,
        label: lane.label.clone(),
        style: theme.kernel(lane.kernel),
        blocks: spans.iter().filter_map(block).collect(),
    })
    .collect()
}

/// Draws blocks: the text of each between brackets if there is room, else as much as fits.
fn blocks(buffer: &mut Buffer, strip: Rect, row: u16, blocks: &[Block]) {
    for Block { from, to, text, style } in blocks.iter().filter(|_| row < strip.height) {
        let width = usize::from(to - from);
        let text = match width {
            0 => continue,
            1 => "|".to_owned(),
            2 => "[]".to_owned(),
            _ => format!("[{:-<1$}]", clip(text, width - 2), width - 2),
        };
        buffer.set_stringn(strip.x + from, strip.y + row, text, width, *style);
    }
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
