//! Phases, guests, and where the live update stands.

use profiler_report::{
    duration,
    report::{Report, VmStatus},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::screen::Screen, super::theme::Theme, super::ui::Ui, bar, clip, put};
use crate::state::{Clock, Half};

/// Lines above the table: two of progress, the bar, and the baseline's bar.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen, ui: &mut Ui) {
    put(buffer, area, 0, progress(screen));
    put(buffer, area, 1, doing(screen));
    let Some(report) = screen.report else { return };
    let elapsed_ns = match screen.state.clock(screen.now) {
        Clock::Running { elapsed_ns } => elapsed_ns,
        _ => report.window.as_ref().map_or(0, |window| window.duration_ns),
    };
    let expected_ns =
        screen.baseline.and_then(|base| base.window.as_ref()).map_or(0, |window| window.duration_ns);
    let scale_ns = elapsed_ns.max(expected_ns).max(1);
    put(buffer, area, 2, phases_bar(report, elapsed_ns, scale_ns, area.width, screen.theme));
    let mut top = 3;
    if let Some(baseline) = screen.baseline {
        put(buffer, area, 3, phases_bar(baseline, expected_ns, scale_ns, area.width, screen.theme));
        top = 4;
    }
    let lines = table(report, screen, usize::from(area.width));
    let table_area = Rect { y: area.y + top, height: area.height.saturating_sub(top), ..area };
    let shown = usize::from(table_area.height);
    let first = ui.scroll(lines.len(), shown);
    for (row, line) in (0..).zip(lines.into_iter().skip(first).take(shown)) {
        put(buffer, table_area, row, line);
    }
}

/// How far preserving and restoring have come.
fn progress<'a>(screen: &Screen<'a>) -> Line<'a> {
    let theme = screen.theme;
    let mut line = Line::default();
    if let Some(Half { counters, .. }) = &screen.state.outgoing {
        line.push_span(Span::styled("preserved ", theme.kernel(profiler_report::catalogue::Place::Outgoing)));
        line.push_span(format!("{} sessions, {} files", counters.sessions, counters.files));
        let unknown = counters.files_of_unknown_size;
        if counters.files > unknown {
            line.push_span(format!(", {:.1} MiB", counters.bytes as f64 / f64::from(1 << 20)));
        }
        if unknown > 0 {
            line.push_span(format!(" ({unknown} of unknown size)"));
        }
    }
    if let Some(Half { counters, .. }) = &screen.state.incoming {
        line.push_span(Span::styled(
            "   restored ",
            theme.kernel(profiler_report::catalogue::Place::Incoming),
        ));
        let (sessions, files) = (counters.sessions, counters.files);
        line.push_span(format!("{sessions} sessions, {files} files, {} finished", counters.finished));
        if counters.vcpus > 0 {
            line.push_span(format!(", {} vCPUs run", counters.vcpus));
        }
    }
    line
}

/// What is under way, or was last.
fn doing<'a>(screen: &Screen<'a>) -> Line<'a> {
    let theme = screen.theme;
    let Some(half) = screen.state.incoming.as_ref().or(screen.state.outgoing.as_ref()) else {
        return Line::default();
    };
    let name = |call: &profiler_report::timeline::Call| match call.subject.as_str() {
        "" => call.name.clone(),
        subject => format!("{} [{subject}]", call.name),
    };
    if let Some(bye) = &half.bye {
        return Line::from(Span::styled(format!("the agent has ended: {bye}"), theme.dim()));
    }
    if screen.state.silent(screen.now).is_some() {
        return Line::from(Span::styled(
            "silent: the kernel that spoke is gone, the next is not heard yet",
            theme.bad(),
        ));
    }
    match half.under_way().last() {
        Some(call) => Line::from(format!("now    {}", name(call))),
        None => half
            .latest(1)
            .first()
            .map_or_else(Line::default, |call| Line::from(format!("last   {}", name(call)))),
    }
}

/// Phases in proportion; what nobody has told yet is dots.
fn phases_bar<'a>(report: &Report, elapsed_ns: u64, scale_ns: u64, width: u16, theme: Theme) -> Line<'a> {
    let cell = |ns: i64| (ns.max(0) as f64 / scale_ns as f64 * f64::from(width)).round() as usize;
    let mut line = Line::default();
    let mut at = 0;
    for phase in &report.phases {
        let end = cell(phase.start_ns.saturating_add_unsigned(phase.duration_ns));
        let length = end.saturating_sub(at);
        if length == 0 {
            continue;
        }
        let letter = Theme::letter(&phase.id);
        // Its letter once; then a pattern that differs from its neighbours'.
        let fill = Theme::pattern(&phase.id);
        let text: String = std::iter::once(letter).chain(std::iter::repeat_n(fill, length - 1)).collect();
        line.push_span(Span::styled(text, theme.phase(&phase.id)));
        at = end;
    }
    let untold = cell(i64::try_from(elapsed_ns).unwrap_or(i64::MAX)).saturating_sub(at);
    line.push_span(Span::styled(".".repeat(untold), theme.bad()));
    line
}

/// Phases, guests, failures.
fn table<'a>(report: &'a Report, screen: &Screen<'a>, width: usize) -> Vec<Line<'a>> {
    let theme = screen.theme;
    let longest = report.phases.iter().map(|phase| phase.duration_ns).max().unwrap_or(1).max(1);
    let base = |id: &str| {
        let phases = screen.baseline?.phases.iter();
        phases.filter(|phase| phase.id == id).map(|phase| phase.duration_ns).reduce(|a, b| a + b)
    };
    let compared = screen.baseline.is_some();
    // Beside a baseline there is room for shares and errors only in a wide terminal.
    let detailed = !compared || width >= 100;
    let columns = 2 + 10 + 12 + if detailed { 8 + 11 } else { 0 } + if compared { 12 } else { 0 };
    let title_width = width.saturating_sub(columns + 10).clamp(12, 50);
    let bar_width = width.saturating_sub(columns + title_width + 2).min(60);
    let mut head = format!("  {:<9} {:<title_width$} {:>11}", "kernel", "phase", "time");
    if detailed {
        head += &format!(" {:>7} {:>10}", "share", "+-");
    }
    if compared {
        head += &format!(" {:>11}", clip(screen.baseline_name, 11));
    }
    let mut lines = vec![Line::from(Span::styled(head, theme.head()))];
    for phase in &report.phases {
        let kernel = format!("{:?}", phase.kernel).to_lowercase();
        let mut line = Line::from(vec![
            Span::styled(format!("{} ", Theme::letter(&phase.id)), theme.phase(&phase.id)),
            Span::styled(format!("{kernel:<9} "), theme.kernel(phase.kernel)),
            Span::raw(format!("{:<title_width$} ", clip(&phase.title, title_width))),
            Span::styled(format!("{:>11} ", duration(phase.duration_ns)), theme.head()),
        ]);
        if detailed {
            line.push_span(format!("{:>6.1}% {:>10} ", phase.share * 100.0, duration(phase.error_ns)));
        }
        if compared {
            line.push_span(format!("{:>11} ", base(&phase.id).map_or("-".to_owned(), duration)));
        }
        let bar = bar(phase.duration_ns as f64 / longest as f64, bar_width);
        line.push_span(Span::styled(bar, theme.phase(&phase.id)));
        lines.push(line);
    }
    if report.phases.is_empty() {
        lines.push(Line::from(Span::styled("  the window has not begun", theme.dim())));
    }
    guests(report, theme, &mut lines);
    for failure in &report.failures {
        lines.push(Line::from(Span::styled(format!("  {}", failure.message), theme.bad())));
    }
    advice(report, theme, width, &mut lines);
    for note in &report.notes {
        lines.push(Line::from(Span::styled(format!("  note: {note}"), theme.dim())));
    }
    lines
}

/// What could be shorter: what was seen, and what to do about it.
fn advice<'a>(report: &'a Report, theme: Theme, width: usize, lines: &mut Vec<Line<'a>>) {
    if report.advice.is_empty() {
        return;
    }
    lines.push(Line::from(Span::styled("  what could be shorter", theme.head())));
    for advice in &report.advice {
        let saving = format!("  {} {:>11} ", Theme::letter(&advice.phase), duration(advice.saving_ns));
        let room = width.saturating_sub(saving.chars().count()).max(16);
        for (index, part) in wrap(&advice.text, room).into_iter().enumerate() {
            let begin = if index == 0 { saving.clone() } else { " ".repeat(saving.chars().count()) };
            lines.push(Line::from(vec![Span::styled(begin, theme.phase(&advice.phase)), Span::raw(part)]));
        }
        for part in wrap(&advice.how, room) {
            let text = " ".repeat(saving.chars().count()) + &part;
            lines.push(Line::from(Span::styled(text, theme.dim())));
        }
    }
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn guests<'a>(report: &'a Report, theme: Theme, lines: &mut Vec<Line<'a>>) {
    if report.vms.is_empty() {
        return;
    }
    let head = format!("  {:<24} {:>12} {:>10}  status", "guest", "blackout", "+-");
    lines.push(Line::from(Span::styled(head, theme.head())));
    for vm in &report.vms {
        let known = |ns: Option<u64>| ns.map_or("unknown".to_owned(), duration);
        let (status, style) = match vm.status {
            VmStatus::Measured => ("measured", theme.good()),
            VmStatus::Bounded => ("at most this", theme.good()),
            VmStatus::NotResumed => ("NOT RESUMED", theme.bad()),
            VmStatus::StopUnknown => ("stop unknown", theme.bad()),
            VmStatus::ResumeUnknown => ("resume unknown", theme.bad()),
        };
        let text = format!(
            "  {:<24} {:>12} {:>10}  ",
            clip(&vm.name, 24),
            known(vm.blackout_ns),
            known(vm.error_ns)
        );
        lines.push(Line::from(vec![Span::raw(text), Span::styled(status, style)]));
    }
}
