//! `blackout report`.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use profiler::{
    recording::reader,
    render::{self, Format},
    report::{self, Outcome},
};

/// Exit code for a recording that is lossy or partial, with `--strict`.
const LOSSY: u8 = 5;

/// Arguments of `blackout report`.
#[derive(clap::Args)]
pub struct Args {
    /// The recording
    file: PathBuf,
    /// How to render it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it here instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exit with 5 if the recording lost something or the live update is not complete
    #[arg(long)]
    strict: bool,
}

/// Computes and renders the report; it is written before any exit code is decided.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<ExitCode> {
    let name = args.file.display();
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {name}"))?;
    let recording = reader::read(&bytes).with_context(|| format!("{name}"))?;
    let report = report::build(&recording).with_context(|| format!("{name}"))?;
    let rendered = render::render(&report, args.format).with_context(|| format!("{name}"))?;
    match &args.output {
        Some(path) => {
            fs::write(path, rendered).with_context(|| format!("cannot write {}", path.display()))?
        }
        None if args.format.is_binary() && io::stdout().is_terminal() => {
            bail!("this format is binary: name a file with --output, or redirect standard output")
        }
        None => stdout.write_all(&rendered)?,
    }
    let poor = report.loss.total() > 0 || report.outcome != Outcome::Complete;
    Ok(if args.strict && poor { ExitCode::from(LOSSY) } else { ExitCode::SUCCESS })
}
