//! What was probed, and what was lost.

use profiler_report::{
    duration,
    report::{Coverage, Loss, ProbeState, Report},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::screen::Screen, super::theme::Theme, super::ui::Ui, clip, nothing, put};
use crate::state::Half;

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    let Some(report) = screen.report else {
        return nothing(buffer, area, screen, "nothing is known yet");
    };
    let mut lines = losses(report, screen);
    lines.push(Line::default());
    lines.extend(probes(report, &ui.filter, usize::from(area.width), screen.theme));
    let shown = usize::from(area.height);
    let first = ui.scroll(lines.len(), shown);
    for (row, line) in (0..).zip(lines.into_iter().skip(first).take(shown)) {
        put(buffer, area, row, line);
    }
}

fn losses<'a>(report: &'a Report, screen: &Screen<'a>) -> Vec<Line<'a>> {
    let theme = screen.theme;
    let mut lines = vec![Line::from(Span::styled("lost", theme.head()))];
    let mut line = |what: String, count: Option<u64>| {
        let (text, style) = match count {
            Some(0) => ("0".to_owned(), theme.good()),
            Some(count) => (count.to_string(), theme.bad()),
            None => ("not kept in this run".to_owned(), theme.dim()),
        };
        lines.push(Line::from(vec![Span::raw(format!("  {what:<34} ")), Span::styled(text, style)]));
    };
    let Loss { streamed, flight_recorder, hot, boot_trace, kmsg, recording, per_probe, .. } = &report.loss;
    line("flight recorder".to_owned(), *flight_recorder);
    line("boot trace".to_owned(), *boot_trace);
    line("kernel log".to_owned(), *kmsg);
    line("hot paths".to_owned(), *hot);
    line("recording".to_owned(), Some(*recording));
    line("live stream, at its source".to_owned(), *streamed);
    for half in [&screen.state.outgoing, &screen.state.incoming].into_iter().flatten() {
        let Half { hello, losses, .. } = half;
        for (place, count) in losses {
            let (kernel, place) = (format!("{:?}", hello.kernel), format!("{place:?}"));
            line(format!("stream of {}, {}", kernel.to_lowercase(), place.to_lowercase()), Some(*count));
        }
    }
    line("stream, lines unread here".to_owned(), Some(screen.state.malformed + screen.state.dropped));
    for lost in per_probe {
        line(clip(&format!("{}: {}", lost.probe, lost.reason), 60), Some(lost.count));
    }
    let error = duration(report.clock.error_ns);
    let clock = format!(
        "  clock {} at {:.3} MHz, borders +- {error}",
        report.clock.source,
        report.clock.hz as f64 / 1e6
    );
    lines.push(Line::from(clock));
    lines.push(Line::from(format!("  unobserved {}", duration(report.unobserved_ns))));
    lines
}

fn probes<'a>(report: &'a Report, filter: &str, width: usize, theme: Theme) -> Vec<Line<'a>> {
    let filter = filter.to_lowercase();
    let wanted = |probe: &&Coverage| {
        let texts = [&probe.probe, &probe.family, &probe.method];
        texts.iter().any(|text| text.to_lowercase().contains(&filter))
    };
    let mut probes: Vec<&Coverage> = report.coverage.iter().filter(wanted).collect();
    // What is wrong comes first.
    probes.sort_by_key(|probe| std::cmp::Reverse(probe.state));
    let why_width = width.saturating_sub(20 + 10 + 14 + 9 + 8 + 28);
    let head = format!(
        "{:<20}{:<10}{:<14}{:<9}{:>7} {:<28}why not",
        "probe", "kernel", "method", "state", "hits", "symbol"
    );
    let mut lines = vec![Line::from(Span::styled(head, theme.head()))];
    for probe in probes {
        let (state, style) = match probe.state {
            ProbeState::Fired => ("fired", theme.good()),
            ProbeState::Attached => ("silent", theme.dim()),
            ProbeState::Missing => ("MISSING", theme.bad()),
            ProbeState::Failed => ("FAILED", theme.bad()),
        };
        let kernel = format!("{:?}", probe.kernel).to_lowercase();
        lines.push(Line::from(vec![
            Span::raw(format!("{:<20}", clip(&probe.probe, 19))),
            Span::styled(format!("{kernel:<10}"), theme.kernel(probe.kernel)),
            Span::raw(format!("{:<14}", clip(&probe.method, 13))),
            Span::styled(format!("{state:<9}"), style),
            Span::raw(format!("{:>7} {:<28}", probe.hits, clip(probe.symbol.as_deref().unwrap_or("-"), 27))),
            Span::raw(clip(probe.reason.as_deref().unwrap_or_default(), why_width)),
        ]));
    }
    if report.coverage.is_empty() {
        lines.push(Line::from(Span::styled("  comes with the report", theme.dim())));
    }
    lines
}
