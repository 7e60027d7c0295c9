//! Packages of the machine's own Debian mirror, through a private apt state: this works as any user and leaves the
//! system's sources and packages alone.

use crate::cache::Cache;
use crate::exec;
use crate::program::{self, Program};
use crate::progress::Progress;
use crate::sources::{self, Mirror};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Suites of the mirror that are read together, in a state of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suites {
    /// The suites.
    pub all: &'static [&'static str],
    /// The suite whose packages are preferred, if the newest version is not what is wanted.
    pub preferred: Option<&'static str>,
}

impl Suites {
    /// Names the state's folder.
    pub fn name(&self) -> String {
        self.all.join("+")
    }
}

/// Suites that carry kernels new enough for live update.
pub const NEWEST: Suites = Suites { all: &["trixie-backports", "sid"], preferred: None };

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Package {
    /// Package name, such as `linux-source-7.3`.
    pub name: String,
    /// Package version, such as `7.3.4-1`.
    pub version: String,
}

impl Package {
    /// Name of a file or folder for this version: the kernel's build takes no spaces or colons in paths, and a version
    /// may hold a colon.
    pub fn file_name(&self) -> String {
        let name = format!("{}_{}", self.name, self.version);
        name.chars().map(|c| if c.is_ascii_alphanumeric() || ".+-_".contains(c) { c } else { '-' }).collect()
    }
}

/// Why this system offers no packages of a mirror.
#[derive(Debug, thiserror::Error)]
pub enum NoMirror {
    /// There is no apt.
    #[error("this system has no apt-get to fetch packages with")]
    NoApt,
    /// Its sources name no Debian mirror.
    #[error("/etc/apt names no Debian mirror to fetch packages from")]
    NoSource,
}

/// A private apt state, up to date with the mirror.
#[derive(Debug)]
pub struct Apt {
    suites: Suites,
    options: Vec<String>,
    log: PathBuf,
}

impl Apt {
    /// Sets the state up in the cache and reads the mirror's package lists of `suites`.
    ///
    /// # Errors
    /// [`NoMirror`] without apt or a Debian mirror in the system's sources; otherwise what `apt-get` reported, when
    /// the mirror cannot be reached.
    pub fn update(cache: &Cache, suites: Suites) -> Result<Self> {
        if program::APT_GET.find().is_none() {
            return Err(NoMirror::NoApt.into());
        }
        let Some(mirror) = sources::system_mirror(Path::new("/etc/apt")) else {
            return Err(NoMirror::NoSource.into());
        };
        let name = format!("apt-{}", suites.name());
        let _lock = cache.lock(&name)?;
        let dir = cache.dir(name)?;
        for sub in ["lists/partial", "cache/archives/partial"] {
            cache.dir(dir.join(sub))?;
        }
        let (list, status) = (dir.join("sources.list"), dir.join("status"));
        fs::write(&list, source_lines(&mirror, suites.all))
            .with_context(|| format!("cannot write {}", list.display()))?;
        fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let mut options = vec![
            option("Dir::State", &dir),
            option("Dir::State::Lists", &dir.join("lists")),
            option("Dir::State::status", &status),
            option("Dir::Cache", &dir.join("cache")),
            option("Dir::Etc::sourcelist", &list),
            "Dir::Etc::sourceparts=-".into(),
            "APT::Get::List-Cleanup=true".into(),
            "Acquire::Languages=none".into(),
            // Otherwise a mirror that cannot be reached is a success with a warning.
            "APT::Update::Error-Mode=any".into(),
        ];
        if rustix::process::geteuid().is_root() {
            // apt's own unprivileged user cannot enter a cache below root's home.
            options.push("APT::Sandbox::User=root".into());
        }
        if let Some(suite) = suites.preferred {
            options.push(format!("APT::Default-Release={suite}"));
        }
        let apt = Self { suites, options, log: dir.join("log") };
        // Only the last attempt's log is of use.
        let _ = fs::remove_file(&apt.log);
        let mut progress = Progress::start(format!("reading package lists of {}", mirror.uri));
        exec::logged(apt.command(program::APT_GET)?.arg("update"), &apt.log, &mut progress)?;
        progress.done();
        Ok(apt)
    }

    /// The kernel source package of `series` (such as `7.3`), or the newest there is.
    ///
    /// # Errors
    /// When the mirror has none; the message lists what it has.
    pub fn find(&self, series: Option<&str>) -> Result<Package> {
        let mut search = self.command(program::APT_CACHE)?;
        let found = exec::output(search.args(["search", "--names-only", "^linux-source-"]))?;
        let names = series_of(&found);
        let wanted = match series {
            Some(series) => names.iter().find(|name| name.as_str() == series),
            None => names.last(),
        };
        let Some(wanted) = wanted else {
            bail!(
                "the mirror has no package linux-source-{} in {}; it has: {}",
                series.unwrap_or("*"),
                self.suites.all.join(", "),
                names.join(" ")
            );
        };
        self.newest(&format!("linux-source-{wanted}"))
    }

    /// The newest version of a package.
    ///
    /// # Errors
    /// When the mirror has none.
    pub fn newest(&self, name: &str) -> Result<Package> {
        let mut show = self.command(program::APT_CACHE)?;
        let record = exec::output(show.args(["show", "--no-all-versions", name]))?;
        let version = record.lines().find_map(|line| line.strip_prefix("Version: "));
        let version = version.with_context(|| format!("apt-cache shows no version of {name}"))?;
        Ok(Package { name: name.to_owned(), version: version.trim().into() })
    }

    /// The newest version of a package with everything that it depends on, as if nothing were installed.
    ///
    /// # Errors
    /// When the mirror has not all of them.
    pub fn with_dependencies(&self, name: &str) -> Result<Vec<Package>> {
        let mut simulate = self.command(program::APT_GET)?;
        let plan = exec::output(simulate.args(["--simulate", "--no-install-recommends", "install", name]))?;
        Ok(planned(&plan))
    }

    /// Downloads `packages` into the folder `dir`, which must be empty, and returns the package files.
    ///
    /// # Errors
    /// When a download fails or leaves no package file.
    pub fn download(&self, packages: &[Package], dir: &Path) -> Result<Vec<PathBuf>> {
        let what = match packages {
            [package] => format!("{} {}", package.name, package.version),
            more => format!("{} packages", more.len()),
        };
        let mut progress = Progress::start(format!("downloading {what}"));
        let mut command = self.command(program::APT_GET)?;
        command.arg("download").current_dir(dir);
        command.args(packages.iter().map(|Package { name, version }| format!("{name}={version}")));
        exec::logged(&mut command, &self.log, &mut progress)?;
        progress.done();
        let files = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let files = files.flatten().map(|entry| entry.path());
        let debs: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect();
        ensure!(debs.len() == packages.len(), "apt-get left {} package files for {what}", debs.len());
        Ok(debs)
    }

    fn command(&self, program: Program) -> Result<Command> {
        let mut command = program.command()?;
        command.env("LC_ALL", "C").args(self.options.iter().flat_map(|option| ["-o", option.as_str()]));
        Ok(command)
    }
}

/// Unpacks package files into the folder `root`; nothing of them is run.
///
/// # Errors
/// When a file is no package or the disk is full.
pub fn unpack(debs: &[PathBuf], root: &Path) -> Result<()> {
    debs.iter()
        .try_for_each(|deb| exec::output(program::DPKG_DEB.command()?.arg("-x").arg(deb).arg(root)).map(drop))
}

fn source_lines(mirror: &Mirror, suites: &[&str]) -> String {
    let keyring = mirror.signed_by.as_deref().or_else(|| Path::new(KEYRING).exists().then_some(KEYRING));
    let options = keyring.map(|file| format!("[signed-by={file}] ")).unwrap_or_default();
    suites.iter().map(|suite| format!("deb {options}{} {suite} main\n", mirror.uri)).collect()
}

/// The packages that `apt-get --simulate install` would install: lines such as `Inst libc6 (2.41-12 Debian:13 [amd64])`.
fn planned(plan: &str) -> Vec<Package> {
    let package = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.strip_prefix('(')?.split(' ').next()?;
        Some(Package { name: name.into(), version: version.into() })
    };
    plan.lines().filter_map(package).collect()
}

/// The kernel series of `apt-cache search` output, oldest first.
fn series_of(search: &str) -> Vec<String> {
    let mut found: Vec<(Vec<u32>, String)> = search
        .lines()
        .filter_map(|line| {
            let series = line.split_whitespace().next()?.strip_prefix("linux-source-")?;
            let numbers: Option<Vec<u32>> = series.split('.').map(|part| part.parse().ok()).collect();
            Some((numbers?, series.to_owned()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, series)| series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_ordered_by_number() {
        let search = "linux-source-7.9 - Linux kernel source\nlinux-source-7.10 - Linux\n\
            linux-source-6.12 - x\nlinux-source - newest\nlinux-source-7.x-rc - y\n\n";
        assert_eq!(series_of(search), ["6.12", "7.9", "7.10"]);
    }

    #[test]
    fn a_plan_names_packages_and_versions() {
        let plan = "Reading package lists...\nInst libc6 (2.41-12 Debian:13.8/stable [amd64]) []\n\
            Inst qemu (1:11.1.3+ds-1 Debian [amd64])\nConf libc6 (2.41-12 Debian:13.8/stable [amd64])\nInst x\n";
        let package = |name: &str, version: &str| Package { name: name.into(), version: version.into() };
        assert_eq!(planned(plan), [package("libc6", "2.41-12"), package("qemu", "1:11.1.3+ds-1")]);
    }

    #[test]
    fn source_lines_name_the_mirrors_own_key_ring() {
        let mirror = Mirror { uri: "http://m.example/debian".into(), signed_by: Some("/k.gpg".into()) };
        assert_eq!(
            source_lines(&mirror, NEWEST.all),
            "deb [signed-by=/k.gpg] http://m.example/debian trixie-backports main\n\
             deb [signed-by=/k.gpg] http://m.example/debian sid main\n"
        );
    }
}
