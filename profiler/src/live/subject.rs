//! The live update that an agent serves.

use std::path::PathBuf;

use profiler_report::recording::Side;

/// The live update that is served: what an agent has to know to begin.
#[derive(Debug)]
pub(super) struct Subject {
    pub side: Side,
    pub run: String,
    /// Names by address, as `arm` found them.
    pub symbols: Vec<(u64, String)>,
    /// The recording: that of this run may come to be only later.
    pub recording: PathBuf,
    pub tsc_hz: Option<u64>,
}
