//! `blackout budget`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use profiler_compare::{
    budget::{self, Checked, SCHEMA, State},
    render,
};
use profiler_report::{render::clean, report};

use super::{
    compare::{FailOn, exit_code, lossy},
    output::{self, Output},
};

/// Hold runs to a budget, from one run on
///
/// A budget is a TOML file; every part may be left out:
///
///     [window]                   # the whole blackout window
///     max = "3 s"                # median of the runs
///     max_increase = "2 %"       # over --baseline; exceeded if the whole interval lies above
///     [phase.restore]            # a phase by its id (blackout report --format json)
///     max = "150 ms"
///     [phase.unobserved]
///     max = "0 ns"
///     [[span]]
///     name = "file-retrieve"
///     subject = "token 1"        # any, if left out
///     phase = "restore"          # any, if left out
///     max = "20 ms"              # longest single call
///     max_calls = 8
///     [count]
///     failures = 0
///     lost = 0
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The budget
    budget: PathBuf,
    /// Runs to hold to it: recordings, reports in JSON, folders, patterns
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Runs that relative limits compare with; may be repeated
    #[arg(long, value_name = "RUNS")]
    baseline: Vec<PathBuf>,
    /// What to write: text, json, markdown, junit, github; with =FILE there, else to standard output; may
    /// be repeated
    #[arg(long, value_name = "FORMAT[=FILE]")]
    format: Vec<Output>,
    /// Level of the intervals that relative limits need
    #[arg(long, value_name = "P", default_value_t = 0.05, value_parser = super::compare::level)]
    alpha: f64,
    /// When to exit with a code that is not 0
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// Exit with 5 if any run lost something or is not complete
    #[arg(long)]
    strict: bool,
}

/// Checks; everything is written before the exit code is decided.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<ExitCode> {
    let limits = output::budget(&args.budget)?;
    if limits.is_relative() && args.baseline.is_empty() {
        bail!(
            "{}: max_increase needs runs to compare with: name them with --baseline",
            args.budget.display()
        );
    }
    let runs = output::load(&args.runs)?;
    let baseline = if args.baseline.is_empty() { Vec::new() } else { output::load(&args.baseline)? };
    let checked = Checked {
        schema: SCHEMA.to_owned(),
        tool: report::tool(),
        runs: runs.iter().map(|run| run.name.clone()).collect(),
        checks: budget::check(&limits, &baseline, &runs, args.alpha),
    };
    let shown = clean(&checked)?;
    output::write(&args.format, stdout, |format| render::budget(&shown, format))?;
    let states: Vec<State> = checked.checks.iter().map(|check| check.state).collect();
    Ok(exit_code(&states, args.fail_on, args.strict && lossy([&baseline, &runs])))
}
