//! Requests that wait for the collector: a file each, `RUN-PART.otlp`, whole or absent.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use profiler_report::files;

use super::PushError;

/// What waits.
const WAITING: &str = "otlp";
/// What the collector will not take, kept for whoever wants to know why.
const REFUSED: &str = "refused";

/// The folder.
pub struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// Opens it.
    pub fn open(dir: &Path) -> Result<Self, PushError> {
        fs::create_dir_all(dir).map_err(PushError::file("create", dir))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Puts a request down. The same one again is the same file.
    pub fn put(&self, run: &str, part: usize, request: &[u8]) -> Result<(), PushError> {
        // Run ids are hex digits; one that is not, from a report made elsewhere, names no other folder.
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
        let run: String = run.chars().take(64).map(plain).collect();
        let path = self.dir.join(format!("{run}-{part:04}.{WAITING}"));
        files::replace(&path, request, 0o600).map_err(PushError::file("write", &path))
    }

    /// What waits, oldest first.
    pub fn waiting(&self) -> Result<Vec<PathBuf>, PushError> {
        let listed = || -> io::Result<Vec<_>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(&self.dir)? {
                let path = entry?.path();
                let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                if !hidden && path.extension().is_some_and(|extension| extension == WAITING) {
                    files.push((path.metadata()?.modified()?, path));
                }
            }
            files.sort();
            Ok(files)
        };
        let files = listed().map_err(PushError::file("list", &self.dir))?;
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// Forgets a request that was taken.
    pub fn remove(&self, path: &Path) -> Result<(), PushError> {
        let removed = fs::remove_file(path).and_then(|()| files::sync_folder(path));
        removed.map_err(PushError::file("remove", path))
    }

    /// Keeps one out of the way that will never be taken.
    pub fn set_aside(&self, path: &Path) -> Result<(), PushError> {
        let renamed = fs::rename(path, path.with_extension(REFUSED)).and_then(|()| files::sync_folder(path));
        renamed.map_err(PushError::file("rename", path))
    }
}
