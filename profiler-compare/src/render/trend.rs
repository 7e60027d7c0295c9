//! A series of builds for a person at a terminal.

use std::fmt::{self, Write};

use profiler_report::duration;

use super::{super::trend::*, text::signed};

/// Heights of a sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Builds a line can show; of more, the last.
const WIDTH: usize = 48;

/// Renders table, sparklines and advice.
pub fn trend(of: &Trend) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut out, of);
    out
}

fn write(out: &mut String, of: &Trend) -> fmt::Result {
    let runs: usize = of.builds.iter().map(|build| build.runs).sum();
    writeln!(out, "{} builds, {runs} runs", of.builds.len())?;
    for (name, build) in [("first", of.builds.first()), ("last", of.builds.last())] {
        if let Some(Build { release, id, first, .. }) = build {
            writeln!(out, "{name:<6} {release} {id}, {first}")?;
        }
    }
    writeln!(out, "\n{:<17}{:>12} {:>12} {:>12}", "phase", "first", "last", "change")?;
    for row in &of.rows {
        let known: Vec<f64> = row.median_ns.iter().filter_map(|median| *median).collect();
        let (Some(first), Some(last)) = (known.first(), known.last()) else { continue };
        let time = |ns: f64| duration(ns.round() as u64);
        writeln!(
            out,
            "{:<17}{:>12} {:>12} {:>12}  {}",
            row.id,
            time(*first),
            time(*last),
            signed(last - first),
            sparkline(&row.median_ns),
        )?;
    }
    if of.builds.len() < LEAST_BUILDS {
        return writeln!(out, "\nadvice on changes begins at {LEAST_BUILDS} builds");
    }
    writeln!(out, "\nchanges of level (advice, not a verdict: compare the builds around them)")?;
    let mut none = true;
    for row in &of.rows {
        for change in &row.changes {
            none = false;
            let build = of.builds.get(change.build);
            let name = build
                .map_or(String::new(), |build| format!("{} {}, {}", build.release, build.id, build.first));
            let (before, after) = (duration(change.before_ns as u64), duration(change.after_ns as u64));
            writeln!(
                out,
                "  {:<16} {before} -> {after} at build {} ({name}), p {:.3}",
                row.id,
                change.build + 1,
                change.p
            )?;
        }
    }
    if none { writeln!(out, "  none") } else { Ok(()) }
}

/// One character a build, between the least and the largest; a blank where nothing is known.
fn sparkline(medians: &[Option<f64>]) -> String {
    let shown = medians.get(medians.len().saturating_sub(WIDTH)..).unwrap_or_default();
    let known = || shown.iter().filter_map(|median| *median);
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    let bar = |median: &Option<f64>| {
        let Some(median) = median else { return ' ' };
        let share = if most > least { (median - least) / (most - least) } else { 0.0 };
        let at = (share * (BARS.len() - 1) as f64).round() as usize;
        BARS.get(at).copied().unwrap_or(' ')
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines() {
        assert_eq!(sparkline(&[Some(1.0), None, Some(2.0), Some(8.0)]), "▁ ▂█");
        assert_eq!(sparkline(&[Some(5.0), Some(5.0)]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&vec![Some(1.0); 100]).chars().count(), WIDTH);
    }
}
