//! Two live updates beside each other.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::screen::Screen, super::theme::Theme, super::ui::Ui, bar, clip, nothing, put};
use crate::report::{Report, text::duration};

/// One phase in both.
struct Pair<'a> {
    id: &'a str,
    title: &'a str,
    before: Option<u64>,
    after: Option<u64>,
}

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let (Some(report), Some(other)) = (screen.report, screen.baseline) else {
        return nothing(
            buffer,
            area,
            screen,
            "nothing to compare with: give --baseline FILE (a recording, or a report as JSON)",
        );
    };
    let theme = screen.theme;
    let width = usize::from(area.width);
    let title_width = width.saturating_sub(2 + 13 + 13 + 14 + 9 + 12).clamp(14, 44);
    let bar_width = width.saturating_sub(2 + title_width + 13 + 13 + 14 + 9) / 2;
    let before = clip(screen.baseline_name, 12);
    let head =
        format!("  {:<title_width$}{before:>13}{:>13}{:>14}{:>9}", "phase", "this one", "difference", "");
    put(buffer, area, 0, Line::from(Span::styled(head, theme.head())));
    let length = |report: &Report| report.window.as_ref().map(|window| window.duration_ns);
    let mut pairs = vec![Pair { id: "", title: "WINDOW", before: length(other), after: length(report) }];
    pairs.extend(phases(other, report));
    let longest =
        pairs.iter().skip(1).flat_map(|pair| [pair.before, pair.after]).flatten().max().unwrap_or(1);
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let first = ui.scroll(pairs.len(), usize::from(list.height));
    for (row, pair) in (0..list.height).zip(pairs.iter().skip(first)) {
        let line = line(pair, title_width, bar_width, longest.max(1), theme);
        put(buffer, list, row, line);
    }
}

fn line<'a>(pair: &Pair, title_width: usize, bar_width: usize, longest: u64, theme: Theme) -> Line<'a> {
    let known = |ns: Option<u64>| ns.map_or("-".to_owned(), duration);
    let (difference, percent, style) = match (pair.before, pair.after) {
        (Some(before), Some(after)) => {
            let sign = if after >= before { "+" } else { "-" };
            let difference = format!("{sign}{}", duration(after.abs_diff(before)));
            let percent = (after as f64 - before as f64) / before.max(1) as f64 * 100.0;
            // One run says little: a colour only for what is plainly more or less.
            let style = match percent {
                p if p > 10.0 => theme.bad(),
                p if p < -10.0 => theme.good(),
                _ => theme.dim(),
            };
            (difference, format!("{percent:+.1}%"), style)
        }
        _ => (String::new(), String::new(), theme.dim()),
    };
    let letter = if pair.id.is_empty() { ' ' } else { Theme::letter(pair.id) };
    let mut line = Line::from(vec![
        Span::styled(format!("{letter} "), theme.phase(pair.id)),
        Span::raw(format!(
            "{:<title_width$}{:>13}{:>13}",
            clip(pair.title, title_width),
            known(pair.before),
            known(pair.after)
        )),
        Span::styled(format!("{difference:>14}{percent:>9}"), style),
    ]);
    if !pair.id.is_empty() && bar_width > 2 {
        let bar = |ns: Option<u64>| bar(ns.unwrap_or(0) as f64 / longest as f64, bar_width - 1);
        line.push_span(Span::styled(format!(" {:<1$}", bar(pair.before), bar_width - 1), theme.dim()));
        line.push_span(Span::styled(format!(" {}", bar(pair.after)), theme.phase(pair.id)));
    }
    line
}

/// Phases of both, in the order of this one, each of the other's own after the one that it follows there.
fn phases<'a>(before: &'a Report, after: &'a Report) -> Vec<Pair<'a>> {
    let sum = |report: &Report, id: &str| {
        let all = report.phases.iter().filter(|phase| phase.id == id).map(|phase| phase.duration_ns);
        all.reduce(|a, b| a.saturating_add(b))
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for phase in &after.phases {
        if !pairs.iter().any(|pair| pair.id == phase.id) {
            let (before, after) = (sum(before, &phase.id), sum(after, &phase.id));
            pairs.push(Pair { id: &phase.id, title: &phase.title, before, after });
        }
    }
    let mut place = 0;
    for phase in &before.phases {
        match pairs.iter().position(|pair| pair.id == phase.id) {
            Some(at) => place = at + 1,
            None => {
                let only =
                    Pair { id: &phase.id, title: &phase.title, before: sum(before, &phase.id), after: None };
                pairs.insert(place, only);
                place += 1;
            }
        }
    }
    pairs
}
