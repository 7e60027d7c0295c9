//! The check for a person at a terminal, in 80 columns.

use std::fmt::{self, Write};

use profiler_report::catalogue::{Level, Place};

use super::{Answer, Check, Expected, Forecast, Phase, Probe, State, Verdict};

const COLUMNS: usize = 80;
/// Where the second and third column of a list begin.
const TITLE: usize = 7;
const FOUND: usize = 47;

/// How to render it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With colours (ANSI escape sequences).
    pub colour: bool,
    /// With every probe, not only those that cannot be attached.
    pub probes: bool,
}

/// Renders the check.
pub fn render(check: &Check, style: Style) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, check, style);
    out
}

fn write(out: &mut String, check: &Check, style: Style) -> fmt::Result {
    let kernel = &check.kernel;
    writeln!(out, "Linux {} on {}, {}", kernel.release, kernel.host, kernel.arch)?;
    writeln!(out, "{}", verdict(check, style))?;
    for (level, title) in [
        (Level::Update, "the live update itself"),
        (Level::Window, "to measure the window whole"),
        (Level::Detail, "to say more about it"),
    ] {
        writeln!(out, "\n{title}")?;
        for answer in check.needs.iter().filter(|answer| answer.level == level) {
            need(out, answer, style)?;
        }
    }
    recorder(out, check)?;
    families(out, check)?;
    probes(out, check, style)?;
    phases(out, check, style)
}

fn verdict(check: &Check, style: Style) -> String {
    let unmet = |state| {
        let these = |answer: &&Answer| answer.level < Level::Detail && answer.state == state;
        check.needs.iter().filter(these).count()
    };
    let unobserved = check.coverage.unobserved;
    match check.verdict {
        Verdict::Ready => style.paint(Colour::Good, "READY: a live update would be measured whole"),
        Verdict::Poor => {
            let text = format!("NOT READY: needs unmet {}, phases unobserved {unobserved}", unmet(State::No));
            style.paint(Colour::Bad, &text)
        }
        Verdict::Unknown => {
            let text = format!("CANNOT TELL: {} needs could not be looked at", unmet(State::Unknown));
            style.paint(Colour::Doubt, &text)
        }
    }
}

fn need(out: &mut String, answer: &Answer, style: Style) -> fmt::Result {
    let mark = match answer.state {
        State::Yes => style.paint(Colour::Good, "ok  "),
        State::No => style.paint(Colour::Bad, "NO  "),
        State::Unknown => style.paint(Colour::Doubt, "?   "),
    };
    let width = FOUND - TITLE - 1;
    // What does not fit beside the title goes below it.
    if answer.found.chars().count() <= COLUMNS - FOUND {
        writeln!(out, "  {mark} {:<width$} {}", answer.title, answer.found)?;
    } else {
        writeln!(out, "  {mark} {}", answer.title)?;
        wrapped(out, "", &answer.found)?;
    }
    if answer.state == State::No {
        wrapped(out, "without it: ", &answer.without)?;
    }
    answer.how.iter().try_for_each(|how| wrapped(out, "-> ", how))
}

/// One paragraph under a title, its first line led by `lead`.
fn wrapped(out: &mut String, lead: &str, text: &str) -> fmt::Result {
    let mut line = format!("{:TITLE$}{lead}", "");
    let indent = line.chars().count();
    let mut length = indent;
    for word in text.split_whitespace() {
        let wanted = word.chars().count() + usize::from(length > indent);
        if length > indent && length + wanted > COLUMNS {
            writeln!(out, "{line}")?;
            line = " ".repeat(indent);
            length = indent;
        }
        if length > indent {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word.chars().count();
    }
    writeln!(out, "{line}")
}

fn recorder(out: &mut String, check: &Check) -> fmt::Result {
    let Some(recorder) = &check.flight_recorder else { return Ok(()) };
    let armed = if recorder.armed { "armed" } else { "not armed" };
    writeln!(
        out,
        "\nflight recorder {}: {} KiB, clock {}, {armed}, {} records",
        recorder.instance,
        recorder.bytes / 1024,
        recorder.clock,
        recorder.records,
    )?;
    if recorder.previous_boot {
        wrapped(
            out,
            "",
            "it holds the previous kernel's records: collect them before the next `blackout arm`",
        )?;
    }
    Ok(())
}

fn families(out: &mut String, check: &Check) -> fmt::Result {
    match &check.tried.reason {
        None => writeln!(out, "\nprobes, as they were attached and taken out again")?,
        Some(reason) => {
            writeln!(out, "\nprobes, by the names that this kernel tells; none was attached:")?;
            wrapped(out, "", reason)?;
        }
    }
    writeln!(out, "  {:<15} {:>10} {:>10}  cannot be seen", "family", "outgoing", "incoming")?;
    for family in &check.families {
        let share = |share: super::Share| match share.wanted {
            0 => "-".to_owned(),
            wanted if share.unknown == 0 => format!("{} of {wanted}", share.attached),
            wanted => format!("{}-{} of {wanted}", share.attached, share.attached + share.unknown),
        };
        let (outgoing, incoming) = (share(family.outgoing), share(family.incoming));
        let mut lines = lines(&family.without, COLUMNS - 42);
        let first = lines.next().unwrap_or_default();
        let row = format!("  {:<15} {outgoing:>10} {incoming:>10}  {first}", family.family);
        writeln!(out, "{}", row.trim_end())?;
        lines.try_for_each(|line| writeln!(out, "{:40}  {line}", ""))?;
    }
    Ok(())
}

/// Names, comma separated, broken where a line is full.
fn lines(names: &[String], width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let comma = if index + 1 < names.len() { "," } else { "" };
        match lines.last_mut().filter(|line| line.len() + name.len() + 2 <= width) {
            Some(line) => *line += &format!(" {name}{comma}"),
            None => lines.push(format!("{name}{comma}")),
        }
    }
    lines.into_iter()
}

fn probes(out: &mut String, check: &Check, style: Style) -> fmt::Result {
    let told = |probe: &&Probe| style.probes || probe.state == Expected::Failed;
    let rows: Vec<&Probe> = check.probes.iter().filter(told).collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {:<8}  {:<20} {:<14} {:<8}  as", "kernel", "probe", "by", "")?;
    for probe in rows {
        let state = match probe.state {
            Expected::Attached => style.paint(Colour::Good, "ok      "),
            Expected::Missing => style.paint(Colour::Doubt, "missing "),
            Expected::Failed => style.paint(Colour::Bad, "FAILED  "),
            Expected::Unknown => style.paint(Colour::Doubt, "?       "),
        };
        let symbol = probe.symbol.as_deref().unwrap_or("-");
        writeln!(
            out,
            "  {:<8}  {:<20} {:<14} {state}  {symbol}",
            kernel(probe.kernel),
            probe.probe,
            probe.method
        )?;
        if let Some(reason) = &probe.reason {
            wrapped(out, "     ", reason)?;
        }
    }
    Ok(())
}

fn phases(out: &mut String, check: &Check, style: Style) -> fmt::Result {
    let coverage = &check.coverage;
    let all = coverage.seen + coverage.unobserved;
    write!(out, "\nphases of the host's window: {} of {all} would be seen", coverage.seen)?;
    match coverage.time_share {
        Some(share) => writeln!(out, ", {:.1} % of the baseline's time", share * 100.0)?,
        None => writeln!(out)?,
    }
    for Phase { id, kernel: place, state, begins_with, share, .. } in &check.phases {
        let state = match state {
            Forecast::Seen => style.paint(Colour::Good, "seen       "),
            Forecast::Conditional => "if there is".to_owned(),
            Forecast::Joined => style.paint(Colour::Doubt, "joined     "),
            Forecast::Unobserved => style.paint(Colour::Bad, "UNOBSERVED "),
        };
        let share = share.map_or_else(String::new, |share| format!("{:>5.1} %  ", share * 100.0));
        let begin = begins_with.as_deref().unwrap_or("-");
        writeln!(out, "  {:<8}  {id:<16} {share}{state}  {begin}", kernel(*place))?;
    }
    Ok(())
}

fn kernel(place: Place) -> &'static str {
    match place {
        Place::Outgoing => "outgoing",
        Place::Jump => "jump",
        Place::Incoming => "incoming",
    }
}

#[derive(Clone, Copy)]
enum Colour {
    Good,
    Bad,
    Doubt,
}

impl Style {
    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            _ if !self.colour => return text.to_owned(),
            Colour::Good => "32",
            Colour::Bad => "1;31",
            Colour::Doubt => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}
