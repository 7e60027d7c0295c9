//! `blackout compare`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::ValueEnum;
use profiler_compare::{
    Comparison, Options, Run, Verdict,
    budget::{self, Increase, Nanoseconds, State},
    render,
};
use profiler_report::render::clean;

use super::output::{self, Output};

/// Exit code for a regression, or a budget that was exceeded.
pub const REGRESSION: u8 = 3;
/// Exit code for what is undecided, with `--fail-on inconclusive`.
pub const INCONCLUSIVE: u8 = 4;
/// Exit code for runs that are lossy or partial, with `--strict`.
pub const LOSSY: u8 = 5;

/// Compare two builds by their runs: is the blackout longer, where, and why
///
/// One live update is one measurement: record 10 of each build, better 20, in turns. Lossy and partial runs
/// are left out where they cannot be trusted. The window is tested first, then the phases together; a
/// regression must be significant, larger than --min-effect over its whole interval, and larger than
/// --floor. Runs of a deterministic lab are subtracted instead: one of each is enough.
#[derive(clap::Args)]
pub struct Args {
    /// Runs of the build to compare with: recordings, reports in JSON, folders, patterns
    #[arg(required = true)]
    base: Vec<PathBuf>,
    /// Runs of the build in question, behind `--`
    #[arg(last = true, required = true, value_parser = path)]
    new: Vec<PathBuf>,
    /// What to write: text, json, markdown, junit, github, benchfmt; with =FILE there, else to standard
    /// output; may be repeated
    #[arg(long, value_name = "FORMAT[=FILE]")]
    format: Vec<Output>,
    /// Level of the tests: how often a comparison of equal builds may cry wolf
    #[arg(long, value_name = "P", default_value_t = 0.05, value_parser = level)]
    alpha: f64,
    /// Smallest change that matters [default: 1 %, deterministic 0 %]
    #[arg(long, value_name = "SHARE")]
    min_effect: Option<Increase>,
    /// Smallest difference that matters [default: 100 us, deterministic 1 us]
    #[arg(long, value_name = "TIME")]
    floor: Option<Nanoseconds>,
    /// Give verdicts although the machines differ
    #[arg(long)]
    mixed_machines: bool,
    /// Check the new runs against this budget too, with the base as its baseline
    #[arg(long, value_name = "FILE")]
    budget: Option<PathBuf>,
    /// When to exit with a code that is not 0
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// One named span that is longer is a regression too, whatever became of its phase and the window
    #[arg(long)]
    fail_on_span: bool,
    /// Exit with 5 if any run lost something or is not complete
    #[arg(long)]
    strict: bool,
}

/// When a gate closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// 3 for a regression or an exceeded budget
    Regression,
    /// Also 4 if the runs do not decide
    Inconclusive,
    /// Never: only look
    Never,
}

/// Compares; everything is written before the exit code is decided.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<ExitCode> {
    let budget = args.budget.as_deref().map(output::budget).transpose()?;
    let (base, new) = (output::load(&args.base)?, output::load(&args.new)?);
    let options = Options {
        alpha: args.alpha,
        min_effect: args.min_effect.map(|increase| increase.0),
        floor_ns: args.floor.map(|floor| floor.0),
        mixed_machines: args.mixed_machines,
    };
    let mut comparison = profiler_compare::compare(&base, &new, &options);
    if let Some(budget) = &budget {
        comparison.budgets = budget::check(budget, &base, &new, args.alpha);
    }
    let shown = clean(&comparison)?;
    output::write(&args.format, stdout, |format| render::comparison(&shown, format))?;
    let longer_span = comparison.spans.iter().any(|row| row.verdict == Verdict::Regression);
    let mut states: Vec<State> = states(&comparison);
    states.extend((args.fail_on_span && longer_span).then_some(State::Exceeded));
    Ok(exit_code(&states, args.fail_on, args.strict && lossy([&base, &new])))
}

/// The gate and the budgets, as one kind.
fn states(comparison: &Comparison) -> Vec<State> {
    let gate = match comparison.verdict {
        Verdict::Regression => State::Exceeded,
        Verdict::Inconclusive => State::Unknown,
        Verdict::Improvement | Verdict::Equivalent => State::Held,
    };
    comparison.budgets.iter().map(|check| check.state).chain([gate]).collect()
}

/// Whether any run lost something or is not complete.
pub fn lossy<'a>(sides: impl IntoIterator<Item = &'a Vec<Run>>) -> bool {
    sides.into_iter().flatten().any(|run| run.spoiled || run.lost > 0)
}

/// The exit code: what is certain before what is not.
pub fn exit_code(states: &[State], fail_on: FailOn, lossy: bool) -> ExitCode {
    let fails = fail_on != FailOn::Never;
    if fails && states.contains(&State::Exceeded) {
        ExitCode::from(REGRESSION)
    } else if lossy {
        ExitCode::from(LOSSY)
    } else if fail_on == FailOn::Inconclusive && states.contains(&State::Unknown) {
        ExitCode::from(INCONCLUSIVE)
    } else {
        ExitCode::SUCCESS
    }
}

/// A file behind `--`, where everything is one.
fn path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with("--") {
        return Err("options go before the --".to_owned());
    }
    Ok(PathBuf::from(text))
}

/// A probability that a test can have.
pub fn level(text: &str) -> Result<f64, String> {
    let level: f64 = text.parse().map_err(|_| "a number between 0 and 1".to_owned())?;
    if level > 0.0 && level < 1.0 { Ok(level) } else { Err("a number between 0 and 1".to_owned()) }
}
