//! `blackout trend`.

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use profiler_compare::{render, trend};
use profiler_report::render::clean;

use super::output;

/// Show the blackout of build after build, and where it changed
///
/// Runs are grouped by their incoming kernel, and builds ordered by their first run. Changes of level are
/// looked for from 20 builds on; they are advice: compare the builds around them.
#[derive(clap::Args)]
pub struct Args {
    /// Recordings, reports in JSON, folders, patterns
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// How to render it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a person at a terminal
    Text,
    /// For machines: blackout.trend/1
    Json,
}

/// Renders the series.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<()> {
    let trend = trend::trend(&output::load(&args.runs)?);
    let text = match args.format {
        Format::Text => render::trend(&clean(&trend)?),
        Format::Json => serde_json::to_string_pretty(&trend)? + "\n",
    };
    stdout.write_all(text.as_bytes())?;
    Ok(())
}
