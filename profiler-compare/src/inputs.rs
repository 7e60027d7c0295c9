//! Files, folders and patterns -> reports, or runs to compare.
//!
//! A file is a recording or a report in JSON; a folder is all of both in it, at any depth. Other files of
//! a folder are passed over; a file that is named must be one or the other.

use std::{
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use profiler_report::{
    recording::reader::{self, ReadError},
    report::{self, Report, ReportError},
};
use serde::Deserialize;
use thiserror::Error;

use crate::Run;

/// What a recording's file begins with.
const MAGIC: &[u8] = b"BLACKOUT";
/// Folders within folders that are looked into: enough for any layout, and no loop goes on for long.
const DEPTH: u32 = 8;

/// Runs could not be read. Each message names the file or pattern.
#[derive(Debug, Error)]
pub enum InputError {
    /// Not a pattern.
    #[error("{0}: not a pattern")]
    Pattern(String, #[source] glob::PatternError),
    /// Nothing found.
    #[error("{0}: no recording (*.blackout) or report (*.json) there")]
    Nothing(String),
    /// Cannot be read.
    #[error("cannot read {0}")]
    Read(String, #[source] io::Error),
    /// A damaged or foreign recording.
    #[error("{0}")]
    Recording(String, #[source] ReadError),
    /// A recording that gives no report.
    #[error("{0}")]
    Stitch(String, #[source] ReportError),
    /// Neither a recording nor a report.
    #[error("{0}: neither a recording nor a report in JSON (blackout.report/1)")]
    Foreign(String),
    /// A report that cannot be read.
    #[error("{0}: not a report that this version reads")]
    Report(String, #[source] serde_json::Error),
}

/// One file to read.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// The user named it: it must be a run.
    named: bool,
}

/// Reads every run of the paths, in their order; folders and patterns in the order of names. Uses all CPUs.
/// `progress` is called with files read and files in all.
///
/// # Errors
/// [`InputError`] for the first path that gives no run, or file that cannot be read.
pub fn load(paths: &[PathBuf], progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Vec<Run>, InputError> {
    let mut runs = Vec::new();
    for path in paths {
        let read = read_all(&expand(path)?, progress)?;
        if read.is_empty() {
            return Err(InputError::Nothing(path.display().to_string()));
        }
        runs.extend(read);
    }
    Ok(runs)
}

/// The files of the paths, in their order; folders and patterns in the order of names. What a folder holds may still be
/// no run: [`File::report`] tells.
///
/// # Errors
/// [`InputError`] for a path that cannot be looked into.
pub fn files(paths: &[PathBuf]) -> Result<Vec<File>, InputError> {
    paths
        .iter()
        .map(|path| expand(path))
        .collect::<Result<Vec<_>, _>>()
        .map(|files| files.into_iter().flatten().collect())
}

fn expand(path: &Path) -> Result<Vec<File>, InputError> {
    let text = path.to_string_lossy();
    if !path.exists() && text.contains(['*', '?', '[']) {
        let found = glob::glob(&text).map_err(|error| InputError::Pattern(text.to_string(), error))?;
        let mut files = Vec::new();
        for path in found {
            let path =
                path.map_err(|error| InputError::Read(error.path().display().to_string(), error.into()))?;
            add(path, true, DEPTH, &mut files)?;
        }
        return Ok(files);
    }
    let mut files = Vec::new();
    add(path.to_owned(), true, DEPTH, &mut files)?;
    Ok(files)
}

fn add(path: PathBuf, named: bool, depth: u32, files: &mut Vec<File>) -> Result<(), InputError> {
    if !path.is_dir() {
        let known = path.extension().is_some_and(|extension| extension == "blackout" || extension == "json");
        if named || known {
            files.push(File { path, named });
        }
        return Ok(());
    }
    let failed = |error| InputError::Read(path.display().to_string(), error);
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(&path).map_err(failed)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort();
    for entry in entries {
        if depth > 0 || !entry.is_dir() {
            add(entry, false, depth.saturating_sub(1), files)?;
        }
    }
    Ok(())
}

fn read_all(files: &[File], progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Vec<Run>, InputError> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(files.len());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return results };
            results.push((index, read(file)));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        }
    };
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for thread in threads {
            match thread.join() {
                Ok(of_thread) => results.extend(of_thread),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().filter_map(|(_, result)| result.transpose()).collect()
}

/// One run; `None` for a file of a folder that is something else.
fn read(file: &File) -> Result<Option<Run>, InputError> {
    Ok(file.report()?.map(|report| Run::new(file.name(), &report)))
}

/// The report that the bytes of the file `name` are, or give.
///
/// # Errors
/// [`InputError`], if they are neither a recording nor a report that this version reads.
pub fn report(name: &str, bytes: &[u8]) -> Result<Report, InputError> {
    let name = name.to_owned();
    if bytes.starts_with(MAGIC) {
        let recording = reader::read(bytes).map_err(|error| InputError::Recording(name.clone(), error))?;
        return report::build(&recording).map_err(|error| InputError::Stitch(name, error));
    }
    match serde_json::from_slice::<Report>(bytes) {
        Ok(report) if report.schema == report::SCHEMA => Ok(report),
        Err(error) if is_report(bytes) => Err(InputError::Report(name, error)),
        _ => Err(InputError::Foreign(name)),
    }
}

impl File {
    /// Its name, for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Its name without folder and extension, if that is text.
    pub fn stem(&self) -> Option<&str> {
        self.path.file_stem()?.to_str()
    }

    /// Its report; `None` for a file of a folder that is something else.
    ///
    /// # Errors
    /// [`InputError`], which names the file.
    pub fn report(&self) -> Result<Option<Report>, InputError> {
        let bytes = fs::read(&self.path).map_err(|error| InputError::Read(self.name(), error))?;
        match report(&self.name(), &bytes) {
            Ok(report) => Ok(Some(report)),
            Err(InputError::Foreign(_)) if !self.named => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether some version of `blackout` wrote this as a report.
fn is_report(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    serde_json::from_slice(bytes).is_ok_and(|head: Head| head.schema.starts_with("blackout.report/"))
}
