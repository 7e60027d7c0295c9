//! `blackout stream`.

use std::{
    fs::{self, File},
    io::{IsTerminal, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use profiler_report::recording::reader;
use profiler_watch::{
    client::{self, Heard, Target},
    decode,
    message::Message,
    replay::{self, Timed},
};

use super::connect::Connect;

/// Arguments of `blackout stream`.
///
/// Follows a live update across the kexec, to the report at its end. The lines are blackout.stream/1.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Print the stream of this recording, or of this recorded stream, instead
    file: Option<PathBuf>,
    #[command(flatten)]
    agent: Connect,
    /// Write the lines here instead of to standard output
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Follows, or reads, to the end.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<()> {
    let mut file = None;
    if let Some(path) = &args.record {
        file = Some(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    }
    let out: &mut dyn Write = match &mut file {
        Some(file) => file,
        None => stdout,
    };
    match &args.file {
        Some(path) => {
            let messages = load(path)?;
            messages.iter().try_for_each(|timed| write(out, &timed.message))
        }
        None => follow(&args.agent.target()?, out, args.record.is_some()),
    }
}

fn follow(target: &Target, out: &mut dyn Write, to_file: bool) -> Result<()> {
    let progress = to_file && std::io::stderr().is_terminal();
    let (mut result, mut reported, mut count) = (Ok(()), false, 0_u64);
    client::follow(target, |heard| {
        match heard {
            Heard::Connected => eprintln!("blackout: connected to {}", target.endpoint),
            Heard::Apart(why) => eprintln!("blackout: {why}; trying again"),
            Heard::Malformed(lines) => eprintln!("blackout: {lines} lines are no messages"),
            Heard::Message(message) => {
                result = write(out, &message);
                reported |= matches!(*message, Message::Report { .. });
                count += 1;
                if progress {
                    eprint!("\rblackout: {count} messages ");
                }
                // The incoming kernel's last word, or the outgoing one's if the kexec failed.
                if result.is_err() || reported && matches!(*message, Message::Bye { .. }) {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    });
    if progress {
        eprintln!();
    }
    result
}

fn write(out: &mut dyn Write, message: &Message) -> Result<()> {
    let line = message.line().context("a message is no JSON")?;
    out.write_all(line.as_bytes())?;
    Ok(out.flush()?)
}

/// The messages of a recording, or of a recorded stream; of a report, that it is there.
pub fn load(path: &Path) -> Result<Vec<Timed>> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    if bytes.starts_with(b"BLACKOUT") {
        let recording = reader::read(&bytes).with_context(|| format!("{name}"))?;
        return replay::of_recording(&recording).with_context(|| format!("{name}"));
    }
    let (messages, malformed) = replay::of_stream(&bytes);
    if messages.is_empty() {
        let report = decode::report(&bytes)
            .with_context(|| format!("{name} is neither a recording, a recorded stream, nor a report"))?;
        let message = Message::Report { report: Box::new(report), spans_left_out: 0 };
        return Ok(vec![Timed { at: Duration::ZERO, message }]);
    }
    if malformed > 0 {
        eprintln!("blackout: {name}: {malformed} lines are no messages");
    }
    Ok(messages)
}
