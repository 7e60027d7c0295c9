//! `blackout report`, and `blackout last`.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use profiler::agent;
use profiler_report::{
    recording::reader,
    render,
    report::{self, Choice, Outcome, WindowChoice},
};

/// Exit code for a recording that is lossy or partial, with `--strict`.
const LOSSY: u8 = 5;

/// Arguments of `blackout report`.
#[derive(clap::Args)]
pub struct Args {
    /// The recording
    file: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// Arguments of `blackout last`.
#[derive(clap::Args)]
pub struct LastArgs {
    #[command(flatten)]
    state: crate::State,
    /// Print the recording's path instead
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    options: Options,
}

/// What to report, and how.
#[derive(clap::Args)]
struct Options {
    /// How to render it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it here instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which window to divide [default: the longest of a guest that is known, else the host's]
    #[arg(long, value_enum)]
    window: Option<Window>,
    /// The guest: divide its window, and count its marks only
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// Begin at the first mark of this name instead
    #[arg(long, value_name = "mark:NAME", value_parser = mark)]
    from: Option<String>,
    /// End at the last mark of this name instead
    #[arg(long, value_name = "mark:NAME", value_parser = mark)]
    to: Option<String>,
    /// Exit with 5 if the recording lost something or the live update is not complete
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a person at a terminal
    Text,
    /// For machines: blackout.report/1
    Json,
    /// For a browser: one page with the timeline to zoom and search, and every table; needs no network
    Html,
    /// For ui.perfetto.dev and trace_processor: a protobuf trace, both kernels on one axis
    Perfetto,
    /// For trace viewers that read Chrome's JSON
    Chrome,
    /// Folded stacks, for a flame graph of the window: weights are nanoseconds and add up to it
    Folded,
    /// For a pull request or a wiki
    Markdown,
    /// For CI: a test case for each phase, failed where the live update failed
    Junit,
    /// Durations of calls, phase by phase, as a HdrHistogram interval log
    Hlog,
    /// Every figure as one table, for spreadsheets and scripts
    Csv,
}

impl From<Format> for render::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Html => Self::Html,
            Format::Perfetto => Self::Perfetto,
            Format::Chrome => Self::Chrome,
            Format::Folded => Self::Folded,
            Format::Markdown => Self::Markdown,
            Format::Junit => Self::Junit,
            Format::Hlog => Self::Hlog,
            Format::Csv => Self::Csv,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Window {
    /// From reboot(2) to the end of the last LUO session
    Host,
    /// From the last exit of the last vCPU to stop, to the first entry of the first to run
    Vm,
}

/// A border of a window: so far marks alone.
fn mark(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("mark:").filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| "write mark:NAME, with the name of a `blackout mark`".to_owned())
}

impl Options {
    fn choice(&self) -> Choice {
        let window = match self.window {
            None => WindowChoice::Auto,
            Some(Window::Host) => WindowChoice::Host,
            Some(Window::Vm) => WindowChoice::Vm,
        };
        let (from_mark, to_mark) = (self.from.clone(), self.to.clone());
        Choice { window, vm: self.vm.clone(), from_mark, to_mark }
    }
}

/// The report of a recording.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<ExitCode> {
    report(&args.file, &args.options, stdout)
}

/// The report of the newest recording.
pub fn last(args: &LastArgs, stdout: &mut impl Write) -> Result<ExitCode> {
    let dir = &args.state.dir;
    let newest = agent::newest(dir)?;
    let newest = newest
        .with_context(|| format!("no live update was recorded yet: {} holds no recording", dir.display()))?;
    if args.path {
        writeln!(stdout, "{}", newest.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    report(&newest, &args.options, stdout)
}

/// Computes and renders a report; it is written before any exit code is decided.
fn report(file: &Path, options: &Options, stdout: &mut impl Write) -> Result<ExitCode> {
    let name = file.display();
    let bytes = fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let recording = reader::read(&bytes).with_context(|| format!("{name}"))?;
    let report = report::build_for(&recording, &options.choice()).with_context(|| format!("{name}"))?;
    let format = render::Format::from(options.format);
    let rendered = render::render(&report, format).with_context(|| format!("{name}"))?;
    match &options.output {
        Some(path) => {
            fs::write(path, rendered).with_context(|| format!("cannot write {}", path.display()))?
        }
        None if format.is_binary() && io::stdout().is_terminal() => {
            bail!("this format is binary: name a file with --output, or redirect standard output")
        }
        None => stdout.write_all(&rendered)?,
    }
    let poor = report.loss.total() > 0 || report.outcome != Outcome::Complete;
    Ok(if options.strict && poor { ExitCode::from(LOSSY) } else { ExitCode::SUCCESS })
}
