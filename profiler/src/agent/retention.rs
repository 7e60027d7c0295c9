//! How long recordings are kept.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{AgentError, state};

/// What to keep. A recording goes when either says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest that stay.
    pub keep: usize,
    /// The age beyond which even those go.
    pub max_age: Option<Duration>,
}

/// Removes recordings beyond `retention`, and gives their paths. That of the run this kernel is armed for stays.
///
/// # Errors
/// When the folder cannot be listed, or a file in it not be removed.
pub fn prune(state_dir: &Path, retention: Retention) -> Result<Vec<PathBuf>, AgentError> {
    if !state_dir.exists() {
        return Ok(Vec::new());
    }
    let current = state::current().map(|id| state::path(state_dir, &id));
    let mut recordings = state::recordings(state_dir)?;
    recordings.retain(|(_, path)| Some(path) != current.as_ref());
    let old = retention.expired(recordings, SystemTime::now());
    for path in &old {
        fs::remove_file(path).map_err(AgentError::file("remove", path))?;
    }
    Ok(old)
}

impl Retention {
    /// Those of `recordings`, each with the time of its last change, that are to go.
    fn expired(self, mut recordings: Vec<(SystemTime, PathBuf)>, now: SystemTime) -> Vec<PathBuf> {
        recordings.sort();
        // A file from the future is not old.
        let aged = |changed: SystemTime| {
            let age = now.duration_since(changed).unwrap_or_default();
            self.max_age.is_some_and(|max_age| age > max_age)
        };
        let newest_first = recordings.into_iter().rev().enumerate();
        newest_first
            .filter(|(place, (changed, _))| *place >= self.keep || aged(*changed))
            .map(|(_, (_, path))| path)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_many_or_too_old_goes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let recording = |name: &str, age: u64| (now - Duration::from_secs(age), PathBuf::from(name));
        let all = vec![recording("c", 30), recording("a", 10), recording("d", 40), recording("b", 20)];
        let expired = |keep, max_age: Option<u64>| {
            let retention = Retention { keep, max_age: max_age.map(Duration::from_secs) };
            retention.expired(all.clone(), now)
        };
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(expired(4, None), paths(&[]));
        assert_eq!(expired(2, None), paths(&["c", "d"]));
        assert_eq!(expired(0, None).len(), 4);
        assert_eq!(expired(9, Some(30)), paths(&["d"]));
        assert_eq!(expired(1, Some(15)), paths(&["b", "c", "d"]));
        let future = (now + Duration::from_secs(5), PathBuf::from("f"));
        let retention = Retention { keep: 1, max_age: Some(Duration::ZERO) };
        assert_eq!(retention.expired(vec![future], now), paths(&[]));
    }

    #[test]
    fn only_recordings_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1.blackout", "2.blackout", "setup.json"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let nothing = Retention { keep: 0, max_age: None };
        assert_eq!(prune(dir.path(), nothing).unwrap().len(), 2);
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["setup.json"]);
        assert_eq!(prune(&dir.path().join("absent"), nothing).unwrap(), Vec::<PathBuf>::new());
    }
}
