//! The state folder: one recording a live update, named by its run. And which run this kernel is about to begin.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use profiler_report::recording::{
    Frame,
    frame::{Body, Run},
    reader,
    writer::Writer,
};

use super::{AgentError, identity};

/// File of a run.
pub fn path(state: &Path, run_id: &str) -> PathBuf {
    state.join(format!("{run_id}.blackout"))
}

/// All recordings of the folder, each with the time of its last change.
pub fn recordings(state: &Path) -> Result<Vec<(SystemTime, PathBuf)>, AgentError> {
    let entries = fs::read_dir(state).map_err(AgentError::file("list", state))?;
    let recordings = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let modified = path.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        (path.extension()? == "blackout").then_some((modified, path))
    });
    Ok(recordings.collect())
}

/// The newest recording of the folder.
pub fn newest(state: &Path) -> Result<Option<PathBuf>, AgentError> {
    Ok(recordings(state)?.into_iter().max().map(|(_, path)| path))
}

/// Where this kernel keeps the id of the run it is armed or has an image for. It must not outlive the kernel: a
/// recording that was begun says nothing of whether the probes are still in.
const CURRENT: &str = "/run/blackout/run";

/// The run of this kernel, armed or only loaded for.
pub fn current() -> Option<String> {
    let text = fs::read_to_string(CURRENT).ok()?;
    identity::is_run_id(text.trim()).then(|| text.trim().to_owned())
}

/// From now on, `run_id` is the run of this kernel.
pub fn set_current(run_id: &str) -> Result<(), AgentError> {
    let path = Path::new(CURRENT);
    if let Some(dir) = path.parent() {
        private_dir(dir)?;
    }
    fs::write(path, format!("{run_id}\n")).map_err(AgentError::file("write", path))
}

/// Whether an image waits to be started: its command line names the run.
pub fn image_is_loaded() -> bool {
    fs::read_to_string("/sys/kernel/kexec_loaded").is_ok_and(|text| text.trim() == "1")
}

/// The run that arming begins: that of the image that is loaded already, if it has not been used up by a kexec that
/// failed, else a new one.
pub fn next(state: &Path) -> Result<Run, AgentError> {
    match current().filter(|_| image_is_loaded()) {
        Some(id) if !begun(state, &id)?.is_some_and(|(_, ended)| ended) => Ok(identity::run(id)),
        _ => identity::new_run(),
    }
}

/// The armed run: this kernel's, if its recording was begun and has not ended.
pub fn armed(state: &Path) -> Result<(Run, PathBuf), AgentError> {
    let none = || AgentError::NotArmed(state.into());
    let id = current().ok_or_else(none)?;
    match begun(state, &id)? {
        Some((run, false)) => Ok((run, path(state, &id))),
        _ => Err(none()),
    }
}

/// What the recording of a run says of itself: who it is, and whether it has ended. `None` if there is none.
fn begun(state: &Path, run_id: &str) -> Result<Option<(Run, bool)>, AgentError> {
    let path = path(state, run_id);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(AgentError::file("read", &path))?,
    };
    let recording = reader::read(&bytes).map_err(|source| AgentError::Read { path, source })?;
    let run = recording.frames.iter().find_map(|frame| match &frame.body {
        Body::Run(run) => Some(run.clone()),
        _ => None,
    });
    let ended = recording.frames.iter().any(|frame| frame.body == Body::End);
    Ok(run.map(|run| (run, ended)))
}

/// Makes a folder for its owner alone, if there is none.
fn private_dir(dir: &Path) -> Result<(), AgentError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(AgentError::file("create", dir))
}

/// A recording that is being written; every error names the file.
pub struct Recorder {
    writer: Writer,
    path: PathBuf,
}

impl Recorder {
    /// A new file; one of the same run that was begun before is begun anew.
    pub fn create_anew(path: &Path) -> Result<Self, AgentError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(AgentError::file("remove", path)(error))
            }
            _ => Self::create(path),
        }
    }

    /// A new file.
    pub fn create(path: &Path) -> Result<Self, AgentError> {
        if let Some(dir) = path.parent() {
            private_dir(dir)?;
        }
        Self::wrap(path, Writer::create(path))
    }

    /// Goes on with an existing file.
    pub fn append(path: &Path) -> Result<Self, AgentError> {
        Self::wrap(path, Writer::append(path))
    }

    fn wrap(
        path: &Path,
        writer: Result<Writer, profiler_report::recording::writer::WriteError>,
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
