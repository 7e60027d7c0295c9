//! `blackout export`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use profiler_compare::inputs::{self, File, InputError};
use profiler_fleet::openmetrics;
use profiler_report::files;

/// Export live updates for a fleet's own stores: node_exporter, Parquet
///
/// Files are replaced in one step: who reads one finds the old or the new.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("to").required(true).multiple(true))]
pub struct Args {
    /// Recordings, reports in JSON, folders, patterns
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// The last live update as metrics, for node_exporter's textfile collector (FILE ends in .prom)
    #[arg(long, value_name = "FILE", group = "to")]
    openmetrics: Option<PathBuf>,
    /// Every phase and span as a row: into one file, or into a folder, a file for each live update
    #[arg(long, value_name = "FILE|DIR", group = "to")]
    parquet: Option<PathBuf>,
}

/// Writes what was asked for.
pub fn run(args: &Args) -> Result<()> {
    let files = inputs::files(&args.recordings)?;
    if let Some(path) = &args.openmetrics {
        let text = openmetrics::render(&tally(&files)?)?;
        // For node_exporter, which is another user.
        files::replace(path, text.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.parquet {
        parquet(&files, path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A recording that gives no report is counted, and said: one torn file must not silence a host.
fn tally(files: &[File]) -> Result<openmetrics::Tally> {
    let mut tally = openmetrics::Tally::default();
    for file in files {
        match file.report() {
            Ok(Some(report)) => tally.add(report),
            Ok(None) => {}
            Err(error @ (InputError::Recording(..) | InputError::Stitch(..) | InputError::Report(..))) => {
                eprintln!("blackout: {:#}", anyhow::Error::new(error));
                tally.add_unreadable();
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(tally)
}

#[cfg(feature = "parquet")]
fn parquet(files: &[File], path: &Path) -> Result<()> {
    use profiler_fleet::parquet::Writer;
    use profiler_report::{files::Pending, report::Report};

    let reports = || files.iter().filter_map(|file| file.report().transpose());
    let write = |path: &Path, reports: &mut dyn Iterator<Item = Result<Report, InputError>>| -> Result<()> {
        let mut pending = Pending::create(path, 0o600)?;
        let mut writer = Writer::new(pending.file())?;
        for report in reports {
            writer.add(&report?)?;
        }
        writer.finish()?;
        Ok(pending.done()?)
    };
    if !path.is_dir() {
        return write(path, &mut reports());
    }
    for report in reports() {
        let report = report?;
        let name = path.join(format!("{}.parquet", file_name(&report.run.id)));
        write(&name, &mut std::iter::once(Ok(report)))?;
    }
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &[File], _: &Path) -> Result<()> {
    anyhow::bail!("this build leaves Parquet out: cargo build -p profiler --features parquet")
}

/// Run ids are hex digits; one that is not, from a report made elsewhere, names no other folder.
#[cfg(feature = "parquet")]
fn file_name(run: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    run.chars().take(64).map(plain).collect()
}
