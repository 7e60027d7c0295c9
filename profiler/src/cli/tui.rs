//! `blackout tui`.

use std::{
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use profiler_report::{
    recording::reader,
    report::{self, Report},
};
use profiler_watch::{
    decode,
    tui::{self, Source, theme::Theme},
};

use super::{connect::Connect, stream};

/// Arguments of `blackout tui`.
///
/// Follows an agent (`blackout serve`) from anywhere: the preparation, the silence of the kexec with the
/// clock running, and the incoming kernel, up to the report. With a file: shows and replays it. `?` is help.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A recording, a recorded stream, or a report as JSON
    file: Option<PathBuf>,
    #[command(flatten)]
    agent: Connect,
    /// What to expect, and to compare with: a recording, or a report as JSON
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Begin to replay at once
    #[arg(long, requires = "file")]
    play: bool,
}

/// Shows it until the user leaves.
pub fn run(args: &Args) -> Result<()> {
    if !std::io::stdout().is_terminal() {
        bail!("this is for a terminal; `blackout stream` prints what it shows");
    }
    let source = match &args.file {
        Some(path) => Source::Messages(stream::load(path)?),
        None => Source::Agent(args.agent.target()?),
    };
    let baseline = args.baseline.as_deref().map(baseline).transpose()?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let options = tui::Options { source, baseline, theme: Theme { colour }, play: args.play };
    tui::run(options).context("cannot use the terminal")
}

fn baseline(path: &Path) -> Result<(Report, String)> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let report = if bytes.starts_with(b"BLACKOUT") {
        report::build(&reader::read(&bytes).with_context(|| format!("{name}"))?)
            .with_context(|| format!("{name}"))?
    } else {
        decode::report(&bytes).with_context(|| format!("{name} is neither a recording nor a report"))?
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok((report, profiler_report::evidence::text::scrub(stem.as_bytes(), 64)))
}
