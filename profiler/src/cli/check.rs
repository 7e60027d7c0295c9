//! `blackout check`.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use profiler::{
    agent,
    check::{self, Verdict, text::Style},
};
use profiler_compare::inputs;
use profiler_report::catalogue::{CATALOGUE, NEEDS};

/// Exit code where a live update would not be measured whole, with `--strict`.
const POOR: u8 = 5;

/// Say what this kernel offers for measuring a live update, and how to get what is missing
///
/// Where privileges allow, every probe is attached as `arm` and `collect` would, and taken out again: the
/// table is then what will happen. Where they do not, or where something is armed, names decide, and what
/// could not be looked at is said. Nothing is left behind, and the flight recorder keeps what it holds.
///
/// Exit codes: 0 checked, whatever it found; 1 error; 5 with --strict, unless a live update would be
/// measured whole.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Print JSON (blackout.check/1)
    #[arg(long)]
    json: bool,
    /// Write it here instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show every probe, not only families
    #[arg(long, conflicts_with = "json")]
    probes: bool,
    /// Weigh phases by their time in an earlier live update: a recording, or a report in JSON
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Check for `blackout load --stamp`
    #[arg(long)]
    stamp: bool,
    /// Check for `blackout load --trace-boot`
    #[arg(long)]
    trace_boot: bool,
    /// Attach nothing: go by names alone
    #[arg(long)]
    no_attach: bool,
    /// Exit with 5 unless a live update would be measured whole
    #[arg(long)]
    strict: bool,
}

/// Looks, and says what it found; that is written before any exit code is decided.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<ExitCode> {
    let baseline = args.baseline.as_deref().map(phases).transpose()?;
    let options = check::Options { stamp: args.stamp, trace_boot: args.trace_boot, baseline };
    let facts = agent::survey(!args.no_attach, args.trace_boot);
    let check = check::assess(&facts, &CATALOGUE, &NEEDS, &options);
    let rendered = if args.json {
        serde_json::to_string_pretty(&check).context("JSON")? + "\n"
    } else {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = colours && args.output.is_none() && io::stdout().is_terminal();
        check::text::render(&check, Style { colour, probes: args.probes })
    };
    match &args.output {
        Some(path) => {
            fs::write(path, rendered).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => stdout.write_all(rendered.as_bytes())?,
    }
    let poor = args.strict && check.verdict != Verdict::Ready;
    Ok(if poor { ExitCode::from(POOR) } else { ExitCode::SUCCESS })
}

/// Phases of an earlier live update, with their times in nanoseconds.
fn phases(path: &Path) -> Result<Vec<(String, u64)>> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let report = inputs::report(&name.to_string(), &bytes)?;
    Ok(report.phases.into_iter().map(|phase| (phase.id, phase.duration_ns)).collect())
}
