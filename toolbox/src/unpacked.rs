//! Programs of Debian packages that are unpacked into the cache with every library they need, and not installed.
//!
//! Such a program is started by the dynamic loader that was unpacked with it, and so runs on systems with an older C
//! library as well. No root is needed, and no package of the system changes.

use crate::apt::{self, Apt, Package, Suites};
use crate::cache::Cache;
use crate::program;
use crate::resolved;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages have their libraries, the dynamic loader among them.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const LOADER: &str = "ld-linux-x86-64.so.2";
/// Folder of links to the loader, each named as a program: the kernel names a process by the file it starts.
const LINKS: &str = "run";

/// A package with all that it depends on, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    /// Unpacks the newest version of the package `name` in `suites`, unless the cache has it.
    ///
    /// # Errors
    /// When neither cache nor mirror has the package, or it cannot be unpacked.
    pub fn obtain(cache: &Cache, name: &str, suites: Suites) -> Result<Self> {
        let place = |package: &Package| cache.path(format!("unpacked/{}", package.file_name()));
        let _lock = cache.lock("unpacked")?;
        let mut apt = None;
        let request = format!("{name} of {}", suites.name());
        let earlier = resolved::last(cache, &request);
        let package = resolved::resolve(
            cache,
            &request,
            |known| place(known).is_dir(),
            || apt.insert(Apt::update(cache, suites)?).newest(name),
        )?;
        let root = place(&package);
        if !root.is_dir() {
            let apt = match apt {
                Some(apt) => apt,
                None => Apt::update(cache, suites)?,
            };
            let staging = cache.temporary()?;
            let (downloads, tree) = (staging.path().join("packages"), staging.path().join("root"));
            fs::create_dir(&downloads).with_context(|| format!("cannot create {}", downloads.display()))?;
            apt::unpack(&apt.download(&apt.with_dependencies(name)?, &downloads)?, &tree)?;
            cache.dir("unpacked")?;
            fs::rename(&tree, &root).with_context(|| format!("cannot create {}", root.display()))?;
            // Best effort: an old version costs 200 MB and nothing else.
            if let Some(earlier) = earlier.filter(|earlier| *earlier != package) {
                let _ = fs::remove_dir_all(place(&earlier));
            }
        }
        Ok(Self { root })
    }

    /// Returns the path of `relative`, which a package has unpacked.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns a command that runs the program at `relative` with the libraries that were unpacked with it.
    ///
    /// # Errors
    /// When the dynamic loader is missing, or the cache cannot be written.
    pub fn command(&self, relative: &str) -> Result<Command> {
        let libraries: Vec<PathBuf> =
            LIBRARIES.iter().map(|dir| self.root.join(dir)).filter(|dir| dir.is_dir()).collect();
        let loader = libraries.iter().map(|dir| dir.join(LOADER)).find(|file| file.is_file());
        let loader = loader.with_context(|| format!("{} has no {LOADER}", self.root.display()))?;
        let link = self.root.join(LINKS).join(Path::new(relative).file_name().unwrap_or_default());
        if !link.is_symlink() {
            fs::create_dir_all(self.root.join(LINKS))
                .and_then(|()| symlink(&loader, &link))
                .with_context(|| format!("cannot link {} to {}", link.display(), loader.display()))?;
        }
        let mut command = program::command(link);
        let libraries: Vec<_> = libraries.iter().map(|dir| dir.to_string_lossy()).collect();
        command.args(["--library-path", &libraries.join(":")]).arg(self.root.join(relative));
        Ok(command)
    }
}
