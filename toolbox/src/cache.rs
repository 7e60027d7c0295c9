//! The folder outside the checkout where kernels, their sources and past runs are kept.

use crate::progress;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Runs kept under `runs/`, and series under `bench/`; older ones are removed.
const RUNS_KEPT: usize = 20;
/// Temporary folders older than this belong to runs that were killed.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The cache folder. Everything in it can be made again.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Exclusive use of one part of the cache, until dropped (or the process ends).
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Cache {
    /// Opens `$BLACKOUT_CACHE`, `$XDG_CACHE_HOME/blackout` or `~/.cache/blackout`, and creates it.
    ///
    /// # Errors
    /// When none of the variables is set or the folder cannot be created.
    pub fn open() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("BLACKOUT_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("blackout")))
            .or_else(|| set("HOME").map(|dir| dir.join(".cache/blackout")));
        match root {
            Some(root) => Self::at(&root),
            None => bail!("no place for the cache: set BLACKOUT_CACHE to a folder"),
        }
    }

    /// Opens the cache in `root`.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn at(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot create the cache {}", root.display()))?;
        let root = root.canonicalize().with_context(|| format!("cache {}", root.display()))?;
        let cache = Self { root };
        cache.remove_stale();
        Ok(cache)
    }

    /// A path inside the cache; it need not exist.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A folder inside the cache, created if absent.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn dir(&self, relative: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(relative);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// A temporary folder on the cache's own file system, so that it can be renamed into place.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn temporary(&self) -> Result<TempDir> {
        let dir = self.dir("tmp")?;
        tempfile::tempdir_in(&dir)
            .with_context(|| format!("cannot create a temporary folder in {}", dir.display()))
    }

    /// Waits until no other process holds the lock `name`, then takes it.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.dir("locks")?.join(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            progress::say(&format!("waiting for another run that holds {}", path.display()));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Lock(file))
    }

    /// The folder for one invocation's results: `out`, created if absent, or [a new one](Self::new_run).
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn results(&self, out: Option<&Path>) -> Result<PathBuf> {
        let Some(out) = out else { return self.new_run() };
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        out.canonicalize().with_context(|| format!("folder {}", out.display()))
    }

    /// A new folder for one invocation's results; the oldest beyond the last 20 are removed.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new_run(&self) -> Result<PathBuf> {
        let runs = self.dir("runs")?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let run = runs.join(format!("{}-{}", now.as_millis(), std::process::id()));
        fs::create_dir(&run).with_context(|| format!("cannot create {}", run.display()))?;
        let mut names: Vec<PathBuf> = entries(&runs).collect();
        names.sort();
        remove_but_last(&names)?;
        Ok(run)
    }

    /// The folder `name` of `kind`, new or not; of all that kind, those used longest ago beyond 20 are removed.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn newest_of(&self, kind: &str, name: &str) -> Result<PathBuf> {
        let folder = self.dir(format!("{kind}/{name}"))?;
        let mut others: Vec<(SystemTime, PathBuf)> = entries(&self.path(kind))
            .filter(|path| *path != folder)
            .map(|path| {
                let used = path.metadata().and_then(|meta| meta.modified());
                (used.unwrap_or(SystemTime::UNIX_EPOCH), path)
            })
            .collect();
        others.sort();
        let paths: Vec<PathBuf> = others.into_iter().map(|(_, path)| path).chain([folder.clone()]).collect();
        remove_but_last(&paths)?;
        Ok(folder)
    }

    /// Best effort: what cannot be removed now is tried again by the next run.
    fn remove_stale(&self) {
        for path in entries(&self.path("tmp")) {
            let age = path.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > STALE) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// Removes all but the last [`RUNS_KEPT`].
fn remove_but_last(folders: &[PathBuf]) -> Result<()> {
    for old in folders.iter().rev().skip(RUNS_KEPT) {
        fs::remove_dir_all(old).with_context(|| format!("cannot remove the old {}", old.display()))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_runs() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        for old in 0..RUNS_KEPT + 5 {
            cache.dir(format!("runs/1000{old:02}-1")).unwrap();
        }
        let run = cache.new_run().unwrap();
        let left: Vec<PathBuf> = entries(&cache.path("runs")).collect();
        assert_eq!(left.len(), RUNS_KEPT);
        assert!(left.contains(&run) && !left.contains(&cache.path("runs/100000-1")));
    }

    #[test]
    fn a_lock_excludes_another() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let lock = cache.lock("kernels").unwrap();
        let again = File::open(cache.path("locks/kernels")).unwrap();
        assert!(again.try_lock().is_err());
        drop(lock);
        assert!(again.try_lock().is_ok());
    }
}
