//! What the terminal shows: frame, and one file a view.

mod compare;
mod coverage;
mod help;
mod hot;
mod overview;
mod spans;
mod timeline;

pub use timeline::whole;

use profiler_report::{duration, report::Outcome};
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    screen::{Link, Screen},
    ui::{Ui, VIEWS, View},
};
use crate::state::Clock;

/// Draws a frame; `ui` learns how much of its view is shown.
pub fn draw(frame: &mut Frame, screen: &Screen, ui: &mut Ui) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < 40 || area.height < 8 {
        put(buffer, area, 0, "blackout: the terminal is too small (40x8)".into());
        return;
    }
    put(buffer, area, 0, title(screen));
    put(buffer, area, 1, clock(screen));
    put(buffer, area, 2, tabs(screen, ui));
    ui.begin();
    let body = Rect { y: area.y + 3, height: area.height - 4, ..area };
    match ui.view {
        View::Overview => overview::draw(buffer, body, screen, ui),
        View::Timeline => timeline::draw(buffer, body, screen, ui),
        View::Spans => spans::draw(buffer, body, screen, ui),
        View::Hot => hot::draw(buffer, body, screen, ui),
        View::Coverage => coverage::draw(buffer, body, screen, ui),
        View::Compare => compare::draw(buffer, body, screen, ui),
    }
    if let Some(place) = ui.place() {
        let width = u16::try_from(place.len() + 1).unwrap_or(area.width).min(area.width);
        let right = Rect { x: area.right() - width, width, ..area };
        put(buffer, right, 2, Line::from(Span::styled(format!(" {place}"), screen.theme.dim())));
    }
    put(buffer, area, area.height - 1, status(screen, ui));
    if ui.help {
        help::draw(buffer, body, screen);
    }
}

/// Writes a line into a row of an area.
fn put(buffer: &mut Buffer, area: Rect, row: u16, line: Line) {
    if row < area.height {
        buffer.set_line(area.x, area.y + row, &line, area.width);
    }
}

/// Run, host, kernels, and how the news comes.
fn title<'a>(screen: &Screen<'a>) -> Line<'a> {
    let theme = screen.theme;
    let mut line = Line::from(Span::styled("blackout ", theme.head()));
    line.push_span(match screen.link {
        Link::Live => match screen.state.silent(screen.now) {
            Some(silence) => {
                Span::styled(format!("[silent for {:.1} s] ", silence.as_secs_f64()), theme.bad())
            }
            None => Span::styled("[live] ", theme.good()),
        },
        Link::Apart(why) => Span::styled(format!("[{why}] "), theme.bad()),
        Link::Replay { position, length, speed, playing } => {
            let what = if *playing { "replay" } else { "replay, stands" };
            let (position, length) = (position.as_secs_f64(), length.as_secs_f64());
            Span::styled(format!("[{what}, {position:.3} of {length:.3} s, x{speed}] "), theme.dim())
        }
    });
    if let Some(report) = screen.report {
        let release = |kernel: &Option<profiler_report::report::Kernel>| {
            kernel.as_ref().map_or("?".to_owned(), |kernel| kernel.release.clone())
        };
        let (from, to) = (release(&report.outgoing), release(&report.incoming));
        line.push_span(format!("{from} -> {to} on {}, run {}", report.run.host, report.run.id));
    }
    line
}

/// The clock of the blackout.
fn clock<'a>(screen: &Screen<'a>) -> Line<'a> {
    let theme = screen.theme;
    let seconds = |ns: u64| format!("{:.3} s", ns as f64 / 1e9);
    match screen.state.clock(screen.now) {
        Clock::NotBegun if screen.state.outgoing.is_some() => {
            Line::from(Span::styled("brownout: the guests run", theme.good()))
        }
        Clock::NotBegun => Line::from(Span::styled("nothing is known yet", theme.dim())),
        Clock::Running { elapsed_ns } => {
            let mut line =
                Line::from(Span::styled(format!("BLACKOUT  {}", seconds(elapsed_ns)), theme.bad()));
            if let Some(baseline) = screen.baseline {
                line.push_span(match super::screen::expected(baseline, elapsed_ns) {
                    Some((_, phase, left)) => format!("   by now: {phase}; {} left", seconds(left)),
                    None => "   by now it should be over".to_owned(),
                });
            }
            line
        }
        Clock::Finished { elapsed_ns } => Line::from(vec![
            Span::styled(format!("blackout over after {}", seconds(elapsed_ns)), theme.good()),
            Span::styled("   the report is to come", theme.dim()),
        ]),
        Clock::Reported { duration_ns, error_ns } => {
            let outcome = screen.report.map(|report| report.outcome);
            let (word, style) = match outcome {
                Some(Outcome::Complete) => ("complete", theme.good()),
                Some(Outcome::Failed) => ("FAILED", theme.bad()),
                Some(Outcome::Partial) | None => ("PARTIAL", theme.bad()),
            };
            Line::from(vec![
                Span::styled(
                    format!("window {} +- {}  ", duration(duration_ns), duration(error_ns)),
                    theme.head(),
                ),
                Span::styled(word, style),
            ])
        }
    }
}

fn tabs<'a>(screen: &Screen<'a>, ui: &Ui) -> Line<'a> {
    let mut line = Line::default();
    for (index, (view, name)) in VIEWS.iter().enumerate() {
        let style = if *view == ui.view { screen.theme.selected() } else { Style::new() };
        line.push_span(Span::styled(format!(" {} {name} ", index + 1), style));
    }
    line
}

/// What is lost, how sure the clock is, what is looked for: always there.
fn status<'a>(screen: &Screen<'a>, ui: &Ui) -> Line<'a> {
    let theme = screen.theme;
    let reported = screen.state.report.as_ref().map_or(0, |(report, _)| report.loss.total());
    let stream = screen.state.lost();
    let loss = |name: &str, count: u64| {
        Span::styled(format!("{name} {count}  "), if count > 0 { theme.bad() } else { theme.good() })
    };
    let error = match screen.report {
        Some(report) if screen.state.report.is_some() => {
            format!("clock +- {}  ", duration(report.clock.error_ns))
        }
        Some(report) => format!("clock +- {} so far  ", duration(report.clock.error_ns)),
        None => "clock unknown  ".to_owned(),
    };
    let mut line =
        Line::from(vec![loss("lost", reported), loss("missed by the stream", stream), error.into()]);
    if ui.typing {
        line.push_span(Span::styled(format!("/{}_", ui.filter), theme.head()));
    } else if !ui.filter.is_empty() {
        line.push_span(Span::styled(format!("/{}", ui.filter), theme.head()));
    }
    line.push_span(Span::styled("  ? help  q quit", theme.dim()));
    line
}

/// Says why there is nothing to see.
fn nothing(buffer: &mut Buffer, area: Rect, screen: &Screen, what: &str) {
    put(buffer, area, 1, Line::from(Span::styled(format!("  {what}"), screen.theme.dim())));
}

/// A span's name and whose it is.
fn name(span: &profiler_report::report::Span) -> String {
    match span.subject.as_str() {
        "" => span.name.clone(),
        subject => format!("{} [{subject}]", span.name),
    }
}

/// The first `width` characters, or fewer and dots.
fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(2)).chain("..".chars()).take(width).collect()
}

/// A bar of `filled` of `width` cells, in eighths.
fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let (whole, rest) = (eighths / 8, eighths % 8);
    let mut bar: String = std::iter::repeat_n('█', whole).collect();
    if rest > 0 && whole < width {
        bar.extend(EIGHTHS.get(rest));
    } else if part > 0.0 && whole == 0 {
        bar.push('▏');
    }
    bar
}
