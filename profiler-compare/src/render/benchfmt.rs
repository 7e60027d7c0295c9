//! Go's benchmark format (golang.org/x/perf, benchfmt): one line a run and phase. `benchstat -col /build`
//! puts the sides next to each other.

use std::fmt::Write;

use super::super::model::{Comparison, Row};

/// Every time of the window and of every phase.
pub fn render(of: &Comparison) -> String {
    let mut out = format!("pkg: blackout\ntool-version: {}\n", word(&of.tool.version));
    for row in of.window.iter().chain(&of.phases) {
        for (build, times) in [("base", &row.base), ("new", &row.new)] {
            for ns in &times.values_ns {
                // Writing to a String does not fail.
                let _ = writeln!(out, "Benchmark{}/build={build} 1 {ns} ns/op", name(row));
            }
        }
    }
    out
}

/// "Window", "Phase/phase=restore"; a name ends at white space.
fn name(row: &Row) -> String {
    if row.phase.is_empty() { "Window".to_owned() } else { format!("Phase/phase={}", word(&row.phase)) }
}

fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '/' { '_' } else { c }).collect()
}
