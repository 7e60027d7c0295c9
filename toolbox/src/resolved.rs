//! Which package a request such as "the newest kernel" came to, remembered in the cache.

use crate::apt::Package;
use crate::cache::Cache;
use crate::progress;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// How long an answer of the mirror is good for, seconds.
const TTL_S: u64 = 24 * 3600;
const FILE: &str = "resolved.json";

/// The package that a request came to, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resolution {
    package: Package,
    /// Seconds since 1970.
    at: u64,
}

/// Returns the package for `request`: for a day as the cache remembers it, then as `ask` finds it on the mirror. When
/// the mirror cannot be reached, a remembered package serves for longer. Only packages of which the cache `has` the
/// product count as remembered.
///
/// # Errors
/// When nothing is remembered and `ask` fails.
pub fn resolve(
    cache: &Cache,
    request: &str,
    has: impl Fn(&Package) -> bool,
    ask: impl FnOnce() -> Result<Package>,
) -> Result<Package> {
    let known = remembered(cache).remove(request).filter(|known| has(&known.package));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Some(known) = &known
        && now.saturating_sub(known.at) < TTL_S
    {
        return Ok(known.package.clone());
    }
    match (ask(), known) {
        (Ok(package), _) => {
            remember(cache, request, Resolution { package: package.clone(), at: now })?;
            Ok(package)
        }
        (Err(error), Some(known)) => {
            let Package { name, version } = &known.package;
            progress::say(&format!(
                "the mirror does not answer; using {name} {version} of the cache: {error:#}"
            ));
            Ok(known.package)
        }
        (Err(error), None) => Err(error),
    }
}

/// The package that `request` came to last, however long ago.
pub fn last(cache: &Cache, request: &str) -> Option<Package> {
    remembered(cache).remove(request).map(|known| known.package)
}

/// A file that cannot be read counts as none: the mirror is asked again.
fn remembered(cache: &Cache) -> BTreeMap<String, Resolution> {
    let text = fs::read(cache.path(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn remember(cache: &Cache, request: &str, resolution: Resolution) -> Result<()> {
    let _lock = cache.lock("resolved")?;
    let mut all = remembered(cache);
    all.insert(request.into(), resolution);
    let path = cache.path(FILE);
    fs::write(&path, serde_json::to_vec_pretty(&all)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_asked_for_what_the_cache_does_not_know() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let package = |version: &str| Package { name: "x".into(), version: version.into() };
        let silent = || -> Result<Package> { anyhow::bail!("no answer") };
        assert!(resolve(&cache, "newest", |_| true, silent).is_err());
        assert_eq!(resolve(&cache, "newest", |_| true, || Ok(package("1"))).unwrap(), package("1"));
        // Remembered for a day.
        assert_eq!(resolve(&cache, "newest", |_| true, || Ok(package("2"))).unwrap(), package("1"));
        // Not if its product is gone.
        assert_eq!(resolve(&cache, "newest", |_| false, || Ok(package("2"))).unwrap(), package("2"));
        assert_eq!(last(&cache, "newest"), Some(package("2")));
        // An old answer is better than none.
        remember(&cache, "newest", Resolution { package: package("3"), at: 0 }).unwrap();
        assert_eq!(resolve(&cache, "newest", |_| true, silent).unwrap(), package("3"));
        assert_eq!(resolve(&cache, "newest", |_| true, || Ok(package("4"))).unwrap(), package("4"));
    }
}
