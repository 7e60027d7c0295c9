//! The totals, and which runs are in them: one file, replaced whole, so that a run is counted and known to be counted
//! in the same instant.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use profiler_report::{files, report::Report};
use serde::{Deserialize, Serialize};

use super::{PushError, Signals};
use crate::otlp::Totals;

/// Runs that are remembered; a recording that is older than so many live updates is long gone.
const REMEMBERED: usize = 4_096;

/// The file's content, and its place.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    #[serde(skip)]
    path: PathBuf,
    /// What was counted.
    pub totals: Totals,
    /// The collector has not got these totals.
    pub unsent: bool,
    /// When the latest run was recorded.
    pub latest: String,
    counted: VecDeque<String>,
    traced: VecDeque<String>,
}

impl Store {
    /// Reads it; one that is not there is empty.
    pub fn open(path: &Path) -> Result<Self, PushError> {
        let store = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| PushError::Store { path: path.to_owned(), source: error })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(PushError::file("read", path)(error)),
        };
        Ok(Self { path: path.to_owned(), ..store })
    }

    /// Writes it, durably.
    pub fn save(&self) -> Result<(), PushError> {
        let bytes = serde_json::to_vec(self)?;
        files::replace(&self.path, &bytes, 0o600).map_err(PushError::file("write", &self.path))
    }

    /// Whether the run's trace was put down.
    pub fn traced(&self, run: &str) -> bool {
        self.traced.iter().any(|known| known == run)
    }

    /// Whether the run is in the totals.
    pub fn counted(&self, run: &str) -> bool {
        self.counted.iter().any(|known| known == run)
    }

    /// Both, of the signals that matter.
    pub fn knows(&self, run: &str, signals: Signals) -> bool {
        (!signals.traces || self.traced(run)) && (!signals.metrics || self.counted(run))
    }

    /// Takes a live update in; counting begins at `now` with the first.
    pub fn add(&mut self, report: &Report, traced: bool, counted: bool, now: u64) {
        let remember = |runs: &mut VecDeque<String>| {
            runs.push_back(report.run.id.clone());
            runs.drain(..runs.len().saturating_sub(REMEMBERED));
        };
        if traced {
            remember(&mut self.traced);
        }
        if counted {
            if self.totals.started_unix_ns == 0 {
                self.totals.started_unix_ns = now;
            }
            self.totals.add(report);
            self.unsent = true;
            remember(&mut self.counted);
        }
        if self.latest < report.run.recorded_at {
            self.latest.clone_from(&report.run.recorded_at);
        }
    }
}
