//! What each phase waited for, and what could be shorter.

use std::fmt::{self, Write};

use crate::{
    duration,
    report::{Phase, Report},
};

/// Links of a phase that are shown.
const LINKS: usize = 3;
/// Phases that are a smaller part of the window are left out.
const LEAST_SHARE: f64 = 0.005;

/// The longest links of each phase's critical path.
pub fn write(out: &mut String, report: &Report) -> fmt::Result {
    let shown = |phase: &&Phase| !phase.chain.is_empty() && phase.share >= LEAST_SHARE;
    for (number, phase) in report.phases.iter().filter(shown).enumerate() {
        if number == 0 {
            writeln!(out, "\ncritical path: what each phase waited for, by its own time")?;
        }
        for (row, link) in phase.chain.iter().take(LINKS).enumerate() {
            let id = if row == 0 { phase.id.as_str() } else { "" };
            let subject =
                if link.subject.is_empty() { String::new() } else { format!(" [{}]", link.subject) };
            writeln!(out, "  {id:<15}  {:>10}  {}{subject}", duration(link.own_ns), link.name)?;
        }
    }
    Ok(())
}

/// What could be shorter; nothing if nothing is known.
pub fn advice(out: &mut String, report: &Report) -> fmt::Result {
    if report.advice.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nwhat could be shorter (estimates, which overlap)")?;
    for advice in &report.advice {
        let saving = duration(advice.saving_ns);
        for (row, line) in wrap(&advice.text).iter().chain(&wrap(&format!("-> {}", advice.how))).enumerate() {
            let (saving, phase) = if row == 0 { (saving.as_str(), advice.phase.as_str()) } else { ("", "") };
            writeln!(out, "  {saving:>10}  {phase:<15}  {line}")?;
        }
    }
    Ok(())
}

/// Lines that leave room for the two columns before them; a word that is longer than that has one of its own.
fn wrap(text: &str) -> Vec<String> {
    const WIDTH: usize = 69;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
