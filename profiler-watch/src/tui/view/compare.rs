//! Two live updates beside each other.

use std::collections::BTreeMap;

use profiler_report::{
    duration,
    report::{Report, Vm},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    super::rows, super::screen::Screen, super::theme::Theme, super::ui::Ui, bar, clip, nothing, put,
};

/// One thing in both.
struct Pair<'a> {
    /// Of a phase; empty for what is none.
    id: &'a str,
    title: String,
    before: Option<u64>,
    after: Option<u64>,
}

impl Pair<'_> {
    /// By how much they differ; what only one of them has differs by all of it.
    fn difference(&self) -> u64 {
        self.before.unwrap_or(0).abs_diff(self.after.unwrap_or(0))
    }
}

/// Spans that differ most, so many.
const SPANS: usize = 20;

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
    let head = |what: &str| {
        format!("  {what:<title_width$}{before:>13}{:>13}{:>14}{:>9}", "this one", "difference", "")
    };
    put(buffer, area, 0, Line::from(Span::styled(head("phase"), theme.head())));
    let length = |report: &Report| report.window.as_ref().map(|window| window.duration_ns);
    let window = Pair { id: "", title: "WINDOW".to_owned(), before: length(other), after: length(report) };
    let phases = phases(other, report);
    let longest = phases.iter().flat_map(|pair| [pair.before, pair.after]).flatten().max().unwrap_or(1);
    let line = |pair: &Pair| line(pair, title_width, bar_width, longest.max(1), theme);
    let mut lines: Vec<Line> = [&window].into_iter().chain(&guests(other, report)).map(line).collect();
    lines.extend(phases.iter().map(line));
    // What one of them has not come to yet would differ by all of it.
    if screen.state.report.is_some() {
        lines.push(Line::from(Span::styled(head("own time of spans, most different first"), theme.head())));
        lines.extend(spans(other, report).iter().map(line));
    }
    let list = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let shown = usize::from(list.height);
    let first = ui.scroll(lines.len(), shown);
    for (row, line) in (0..).zip(lines.into_iter().skip(first).take(shown)) {
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
            clip(&pair.title, title_width),
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
            pairs.push(Pair { id: &phase.id, title: phase.title.clone(), before, after });
        }
    }
    let mut place = 0;
    for phase in &before.phases {
        match pairs.iter().position(|pair| pair.id == phase.id) {
            Some(at) => place = at + 1,
            None => {
                let (title, sum) = (phase.title.clone(), sum(before, &phase.id));
                let only = Pair { id: &phase.id, title, before: sum, after: None };
                pairs.insert(place, only);
                place += 1;
            }
        }
    }
    pairs
}

/// Windows of guests that both know, by name.
fn guests(before: &Report, after: &Report) -> Vec<Pair<'static>> {
    let of = |report: &Report, name: &str| report.vms.iter().find(|vm| vm.name == name)?.blackout_ns;
    let pair = |vm: &Vm| {
        let (before, after) = (of(before, &vm.name), vm.blackout_ns);
        Pair { id: "", title: format!("guest {}", vm.name), before, after }
    };
    after.vms.iter().map(pair).filter(|pair| pair.before.is_some() && pair.after.is_some()).collect()
}

/// Spans of the window whose own time differs most, by phase and name.
fn spans<'a>(before: &'a Report, after: &'a Report) -> Vec<Pair<'a>> {
    let mut sums: BTreeMap<(&str, &str), [Option<u64>; 2]> = BTreeMap::new();
    for (side, report) in [before, after].into_iter().enumerate() {
        for row in rows::all(report).iter().filter(|row| !row.phase.is_empty()) {
            let sums = sums.entry((row.phase, &row.span.name)).or_default();
            if let (Some(sum), Some(own)) = (sums.get_mut(side), row.span.self_ns) {
                *sum = Some(sum.unwrap_or(0).saturating_add(own));
            }
        }
    }
    let pair = |((id, name), [before, after]): ((&'a str, &str), [Option<u64>; 2])| Pair {
        id,
        title: name.to_owned(),
        before,
        after,
    };
    let mut pairs: Vec<Pair> = sums.into_iter().map(pair).filter(|pair| pair.difference() > 0).collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.difference()));
    pairs.truncate(SPANS);
    pairs
}
