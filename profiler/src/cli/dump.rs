//! `blackout dump`: the raw evidence, for those who do not trust the report.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, Result};
use profiler_report::recording::reader;

/// Arguments of `blackout dump`.
#[derive(clap::Args)]
pub struct Args {
    /// The recording
    file: PathBuf,
    /// Write the raw bytes of this frame (lines count from 0) instead
    #[arg(long, value_name = "N")]
    blob: Option<usize>,
}

/// One JSON line a frame: its side, its body, and the size of its blob; then one a damage.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<()> {
    let name = args.file.display();
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {name}"))?;
    let recording = reader::read(&bytes).with_context(|| format!("{name}"))?;
    if let Some(index) = args.blob {
        let frame = recording.frames.get(index).with_context(|| format!("{name} has no frame {index}"))?;
        return stdout.write_all(&frame.blob).context("cannot write");
    }
    for frame in &recording.frames {
        let blob_bytes = frame.blob.len();
        let line = serde_json::json!({ "side": frame.side, "blob_bytes": blob_bytes, "body": frame.body });
        writeln!(stdout, "{line}")?;
    }
    for damage in &recording.damage {
        writeln!(stdout, "{}", serde_json::json!({ "damage": damage.what, "offset_bytes": damage.offset }))?;
    }
    Ok(())
}
