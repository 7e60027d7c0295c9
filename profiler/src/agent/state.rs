//! The state folder: one recording a live update, named by its run.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::AgentError;
use crate::recording::{
    Frame,
    frame::{Body, Run},
    reader,
    writer::Writer,
};

/// File of a run.
pub fn path(state: &Path, run_id: &str) -> PathBuf {
    state.join(format!("{run_id}.blackout"))
}

/// The newest recording of the folder.
pub fn newest(state: &Path) -> Result<Option<PathBuf>, AgentError> {
    let entries = fs::read_dir(state).map_err(AgentError::file("list", state))?;
    let recordings = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let modified = path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        (path.extension()? == "blackout").then_some((modified, path))
    });
    Ok(recordings.max().map(|(_, path)| path))
}

/// The armed run: the newest recording, if only its outgoing half was begun.
pub fn armed(state: &Path) -> Result<(Run, PathBuf), AgentError> {
    let path = newest(state)?.ok_or_else(|| AgentError::NotArmed(state.into()))?;
    let bytes = fs::read(&path).map_err(AgentError::file("read", &path))?;
    let recording = reader::read(&bytes).map_err(|source| AgentError::Read { path: path.clone(), source })?;
    let run = recording.frames.iter().find_map(|frame| match &frame.body {
        Body::Run(run) => Some(run.clone()),
        _ => None,
    });
    let ended = recording.frames.iter().any(|frame| frame.body == Body::End);
    match run {
        Some(run) if !ended => Ok((run, path)),
        _ => Err(AgentError::NotArmed(state.into())),
    }
}

/// A recording that is being written; every error names the file.
pub struct Recorder {
    writer: Writer,
    path: PathBuf,
}

impl Recorder {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self, AgentError> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(AgentError::file("create", dir))?;
        }
        Self::wrap(path, Writer::create(path))
    }

    /// Goes on with an existing file.
    pub fn append(path: &Path) -> Result<Self, AgentError> {
        Self::wrap(path, Writer::append(path))
    }

    fn wrap(
        path: &Path,
        writer: Result<Writer, crate::recording::writer::WriteError>,
    ) -> Result<Self, AgentError> {
        let path = path.to_owned();
        match writer {
            Ok(writer) => Ok(Self { writer, path }),
            Err(source) => Err(AgentError::Write { path, source }),
        }
    }

    /// Adds frames.
    pub fn write(&mut self, frames: &[Frame]) -> Result<(), AgentError> {
        for frame in frames {
            let written = self.writer.write(frame);
            written.map_err(|source| AgentError::Write { path: self.path.clone(), source })?;
        }
        Ok(())
    }

    /// Makes it durable: what was written is still there after a crash.
    pub fn sync(&mut self) -> Result<(), AgentError> {
        self.writer.sync().map_err(|source| AgentError::Write { path: self.path.clone(), source })
    }
}
