//! Live updates -> an OpenTelemetry collector, each once, however often the collector or this machine is away.
//!
//! What is to be told is first put down durably under the state folder: traces as files of a spool, metrics as
//! cumulative totals. Only then is it sent, and only what was taken is forgotten. A crash between the steps repeats
//! one: a trace put down or sent again is the same trace (its ids are digests), and totals count no run twice.

mod http;
mod spool;
mod store;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use profiler_report::report::Report;
use prost::Message;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::otlp::{self, proto::Response};

pub use http::{Answer, Collector};
use spool::Spool;
use store::Store;

/// The first wait before another try; each further one is twice as long, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why nothing can be pushed. What cannot be delivered yet is no error.
#[derive(Debug, Error)]
pub enum PushError {
    /// A file of the state folder.
    #[error("cannot {what} {}", path.display())]
    #[allow(missing_docs)]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// The totals are damaged.
    #[error("{}: not what blackout wrote; remove it to begin counting anew", path.display())]
    #[allow(missing_docs)]
    Store { path: PathBuf, source: serde_json::Error },
    /// Serde's.
    #[error("as OTLP")]
    Json(#[from] serde_json::Error),
    /// Not an address.
    #[error("{0}: write http://HOST:PORT, the collector's OTLP/HTTP endpoint{1}")]
    Url(String, &'static str),
    /// Not a header.
    #[error("{0}: OTEL_EXPORTER_OTLP_HEADERS is NAME=VALUE,NAME=VALUE")]
    Header(String),
}

impl PushError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, path: path.to_owned(), source }
    }
}

/// Which signals are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Signals {
    pub traces: bool,
    pub metrics: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Live updates that were new.
    pub queued: usize,
    /// Requests the collector took.
    pub delivered: usize,
    /// Requests that wait for the next push.
    pub waiting: usize,
    /// What the user should know: why requests wait, or what the collector will never take.
    pub notes: Vec<String>,
}

/// A host's queue, under its state folder; nobody else's while it is open.
pub struct Queue {
    spool: Spool,
    store: Store,
    _lock: File,
}

impl Queue {
    /// Opens it, and waits for whoever has it open.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn open(state: &Path) -> Result<Self, PushError> {
        let dir = state.join("push");
        fs::create_dir_all(&dir).map_err(PushError::file("create", &dir))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(PushError::file("create", &path))?;
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(PushError::file("lock", &path))?;
        Ok(Self {
            spool: Spool::open(&dir.join("spool"))?,
            store: Store::open(&dir.join("totals.json"))?,
            _lock: lock,
        })
    }

    /// Whether this run was put down before.
    pub fn knows(&self, run: &str, signals: Signals) -> bool {
        self.store.knows(run, signals)
    }

    /// Puts live updates down that are new; gives how many were. The latest is left for later while it has no incoming
    /// half and nothing failed: it may be armed and not have begun.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn put(&mut self, reports: &[Report], signals: Signals) -> Result<usize, PushError> {
        let latest = reports.iter().map(|report| report.run.recorded_at.as_str()).max().unwrap_or_default();
        let latest = latest.max(&self.store.latest).to_owned();
        let ripe = |report: &&Report| !(report.is_open() && report.run.recorded_at >= latest);
        let mut queued = 0;
        for report in reports.iter().filter(ripe) {
            let run = &report.run.id;
            let traced = signals.traces && !self.store.traced(run);
            let counted = signals.metrics && !self.store.counted(run);
            if traced {
                for (part, request) in otlp::trace(report)?.iter().enumerate() {
                    self.spool.put(run, part, &request.encode_to_vec())?;
                }
            }
            if traced || counted {
                queued += 1;
                self.store.add(report, traced, counted, now());
                self.store.save()?;
            }
        }
        Ok(queued)
    }

    /// Sends what waits, and tries again until `patience` is over.
    ///
    /// # Errors
    /// [`PushError`]: this machine's; the collector's are notes.
    pub fn deliver(
        &mut self,
        collector: &Collector,
        signals: Signals,
        patience: Duration,
    ) -> Result<Outcome, PushError> {
        let mut tries = Tries { collector, until: Instant::now() + patience, away: false };
        let mut outcome = Outcome::default();
        for file in if signals.traces { self.spool.waiting()? } else { Vec::new() } {
            let request = fs::read(&file).map_err(PushError::file("read", &file))?;
            match tries.send("/v1/traces", &request, &mut outcome) {
                Sent::Taken => self.spool.remove(&file)?,
                Sent::Refused => self.spool.set_aside(&file)?,
                Sent::NotYet => {}
            }
        }
        if signals.metrics && self.store.unsent {
            let request = otlp::metrics(&self.store.totals, now()).encode_to_vec();
            // Refused totals are sent again with the next live update: they are only ever put right by what follows.
            if tries.send("/v1/metrics", &request, &mut outcome) != Sent::NotYet {
                self.store.unsent = false;
                self.store.save()?;
            }
        }
        Ok(outcome)
    }
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Taken,
    Refused,
    NotYet,
}

/// Sends requests one after the other; the time for trying again is theirs together.
struct Tries<'a> {
    collector: &'a Collector,
    until: Instant,
    /// It was tried in vain to the end: what is left is not tried at all.
    away: bool,
}

impl Tries<'_> {
    fn send(&mut self, path: &str, request: &[u8], outcome: &mut Outcome) -> Sent {
        let mut wait = FIRST_WAIT;
        while !self.away {
            match self.collector.post(path, request) {
                Answer::Taken(body) => {
                    outcome.delivered += 1;
                    outcome.notes.extend(partial_success(&body));
                    return Sent::Taken;
                }
                Answer::Refused(why) => {
                    outcome.notes.push(format!("{path}: the collector refuses it: {why}"));
                    return Sent::Refused;
                }
                Answer::NotNow { why, after } => {
                    let wanted = after.unwrap_or_else(|| jitter(wait));
                    if Instant::now() + wanted > self.until {
                        outcome.notes.push(why);
                        self.away = true;
                        break;
                    }
                    thread::sleep(wanted);
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        outcome.waiting += 1;
        Sent::NotYet
    }
}

/// Half to all of it: hosts that were updated together do not come back together.
fn jitter(wait: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    wait.mul_f64(0.5 + f64::from(nanos % 1_000) / 2_000.0)
}

/// Some collectors take a request and drop a part of it; it must not be sent again (OTLP, "Partial Success").
fn partial_success(body: &[u8]) -> Option<String> {
    let partial = Response::decode(body).ok()?.partial_success?;
    (partial.rejected > 0).then(|| {
        format!("the collector dropped {} of a request: {}", partial.rejected, partial.error_message)
    })
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
