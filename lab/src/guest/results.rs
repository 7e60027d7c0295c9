//! The result file in the shared folder: begun under the outgoing kernel, ended under the incoming one.

use super::exchange::Exchange;
use super::mounts::HOST;
use crate::result::{LabResult, RESULT_FILE};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// What the outgoing kernel's init left, or `None` if it left nothing readable.
pub fn load() -> Option<LabResult> {
    let bytes = fs::read(Path::new(HOST).join(RESULT_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Replaces the result file as one step, so that the host never reads half of it.
///
/// # Errors
/// When the shared folder cannot be written.
pub fn store(result: &LabResult, exchange: Exchange) -> Result<()> {
    let path = Path::new(HOST).join(RESULT_FILE);
    let unfinished = path.with_extension("json.new");
    let text = serde_json::to_vec_pretty(result)?;
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    exchange.publish()
}
