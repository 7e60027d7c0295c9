//! Kernel sources, and a few programs for tests, from the machine's own Debian mirror, through an apt state of our own: works as
//! any user and leaves the system's sources alone.

use crate::cache::Cache;
use crate::exec;
use crate::packages::find_program;
use crate::progress::Progress;
use crate::sources::{self, Mirror};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Suites that carry kernels new enough for live update.
const SUITES: [&str; 2] = ["trixie-backports", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourcePackage {
    /// Package name, such as `linux-source-7.3`.
    pub name: String,
    /// Package version, such as `7.3.4-1`.
    pub version: String,
}

/// Our own apt state, up to date with the mirror.
#[derive(Debug)]
pub struct Apt {
    options: Vec<String>,
    log: PathBuf,
}

impl Apt {
    /// Sets the state up in the cache and reads the mirror's package lists.
    ///
    /// # Errors
    /// Without apt or a Debian mirror in the system's sources, or when the mirror cannot be reached.
    pub fn update(cache: &Cache) -> Result<Self> {
        let without = "give a kernel image with --kernel or a source tree with --kernel-src";
        if find_program("apt-get").is_none() {
            bail!("this system has no apt-get to fetch a kernel source with: {without}");
        }
        let Some(mirror) = sources::system_mirror(Path::new("/etc/apt")) else {
            bail!("/etc/apt names no Debian mirror to fetch a kernel source from: {without}");
        };
        let _lock = cache.lock("apt")?;
        let dir = cache.dir("apt")?;
        for sub in ["lists/partial", "cache/archives/partial"] {
            cache.dir(dir.join(sub))?;
        }
        let (list, status) = (dir.join("sources.list"), dir.join("status"));
        fs::write(&list, source_lines(&mirror))
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
        let apt = Self { options, log: dir.join("log") };
        // Only the last attempt's log is of use.
        let _ = fs::remove_file(&apt.log);
        let mut progress = Progress::start(format!("reading package lists of {}", mirror.uri));
        exec::logged(apt.command("apt-get").arg("update"), &apt.log, &mut progress)?;
        progress.done();
        Ok(apt)
    }

    /// The kernel source package of `series` (such as `7.3`), or the newest there is.
    ///
    /// # Errors
    /// When the mirror has none; the message lists what it has.
    pub fn find(&self, series: Option<&str>) -> Result<SourcePackage> {
        let found =
            exec::output(self.command("apt-cache").args(["search", "--names-only", "^linux-source-"]))?;
        let names = series_of(&found);
        let wanted = match series {
            Some(series) => names.iter().find(|name| name.as_str() == series),
            None => names.last(),
        };
        let Some(wanted) = wanted else {
            bail!(
                "the mirror has no package linux-source-{} in {}; it has: {}",
                series.unwrap_or("*"),
                SUITES.join(", "),
                names.join(" ")
            );
        };
        self.newest(&format!("linux-source-{wanted}"))
    }

    /// The newest version of a package.
    ///
    /// # Errors
    /// When the mirror has none.
    pub fn newest(&self, name: &str) -> Result<SourcePackage> {
        let record = exec::output(self.command("apt-cache").args(["show", "--no-all-versions", name]))?;
        let version = record.lines().find_map(|line| line.strip_prefix("Version: "));
        let version = version.with_context(|| format!("apt-cache shows no version of {name}"))?;
        Ok(SourcePackage { name: name.to_owned(), version: version.trim().into() })
    }

    /// Downloads `package` into `dir`.
    ///
    /// # Errors
    /// When the download fails or leaves no package file.
    pub fn download(&self, package: &SourcePackage, dir: &Path) -> Result<PathBuf> {
        let mut progress = Progress::start(format!("downloading {} {}", package.name, package.version));
        let what = format!("{}={}", package.name, package.version);
        let mut command = self.command("apt-get");
        exec::logged(command.args(["download", &what]).current_dir(dir), &self.log, &mut progress)?;
        progress.done();
        let files = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let mut files = files.flatten().map(|entry| entry.path());
        let deb = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        deb.with_context(|| format!("apt-get downloaded no package file for {what}"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").args(self.options.iter().flat_map(|option| ["-o", option.as_str()]));
        command
    }
}

fn source_lines(mirror: &Mirror) -> String {
    let keyring = mirror.signed_by.as_deref().or_else(|| Path::new(KEYRING).exists().then_some(KEYRING));
    let options = keyring.map(|file| format!("[signed-by={file}] ")).unwrap_or_default();
    SUITES.iter().map(|suite| format!("deb {options}{} {suite} main\n", mirror.uri)).collect()
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
    fn source_lines_name_the_mirrors_own_key_ring() {
        let mirror = Mirror { uri: "http://m.example/debian".into(), signed_by: Some("/k.gpg".into()) };
        assert_eq!(
            source_lines(&mirror),
            "deb [signed-by=/k.gpg] http://m.example/debian trixie-backports main\n\
             deb [signed-by=/k.gpg] http://m.example/debian sid main\n"
        );
    }
}
