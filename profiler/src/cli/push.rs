//! `blackout push`.

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use profiler_compare::inputs;
use profiler_fleet::push::{Collector, Queue, Signals};
use profiler_report::report::Report;

/// Send live updates to an OpenTelemetry collector: each as a trace, all as metrics
///
/// Each is sent once. What cannot be delivered waits in the state folder, over reboots too, for the next push.
/// Headers, such as a token, are taken from OTEL_EXPORTER_OTLP_HEADERS.
#[derive(clap::Args)]
pub struct Args {
    /// The collector's OTLP/HTTP endpoint; /v1/traces and /v1/metrics are added
    #[arg(long, value_name = "URL")]
    otlp: String,
    /// Only this signal
    #[arg(long, value_enum)]
    only: Option<Signal>,
    /// How long to try again while the collector is away
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    retry_for: u64,
    #[command(flatten)]
    state: crate::State,
    /// Recordings, reports in JSON, folders, patterns [default: the state folder]
    recordings: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Signal {
    /// A trace for each live update, with spans in both kernels
    Traces,
    /// Exponential histograms and counts of all of them
    Metrics,
}

/// Puts down what is new, then delivers what waits. 1 if something still waits.
pub fn run(args: &Args) -> Result<ExitCode> {
    let collector = Collector::new(&args.otlp, &env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default())?;
    let signals = Signals {
        traces: !matches!(args.only, Some(Signal::Metrics)),
        metrics: !matches!(args.only, Some(Signal::Traces)),
    };
    let mut queue = Queue::open(&args.state.dir)?;
    let reports = new_reports(args, &queue, signals)?;
    let queued = queue.put(&reports, signals)?;
    let outcome = queue.deliver(&collector, signals, Duration::from_secs(args.retry_for))?;
    for note in &outcome.notes {
        eprintln!("blackout: {note}");
    }
    eprintln!(
        "blackout: {queued} new, {} requests delivered, {} waiting",
        outcome.delivered, outcome.waiting
    );
    Ok(ExitCode::from(u8::from(outcome.waiting > 0)))
}

/// Reports of runs that are not yet known. A recording that gives none is said, and stops no other.
fn new_reports(args: &Args, queue: &Queue, signals: Signals) -> Result<Vec<Report>> {
    let state = [args.state.dir.clone()];
    let paths = if args.recordings.is_empty() { &state[..] } else { &args.recordings[..] };
    let mut reports = Vec::new();
    for file in inputs::files(paths)? {
        // The state folder's files are named by their runs.
        if file.stem().is_some_and(|run| queue.knows(run, signals)) {
            continue;
        }
        match file.report() {
            Ok(Some(report)) if !queue.knows(&report.run.id, signals) => reports.push(report),
            Ok(_) => {}
            Err(error) => eprintln!("blackout: {:#}", anyhow::Error::new(error)),
        }
    }
    Ok(reports)
}
