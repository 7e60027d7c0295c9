//! Which of the system's packages a step needs, and getting them.

use crate::exec;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Something a step needs from the system, and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    found_by: FoundBy,
    package: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum FoundBy {
    /// A program in `$PATH`.
    Program(&'static str),
    /// A file at one of these paths.
    File(&'static [&'static str]),
}

const fn program(name: &'static str, package: &'static str) -> Need {
    Need { found_by: FoundBy::Program(name), package }
}

const fn file(paths: &'static [&'static str], package: &'static str) -> Need {
    Need { found_by: FoundBy::File(paths), package }
}

/// For unpacking a kernel source package.
pub const UNPACK: &[Need] = &[program("dpkg-deb", "dpkg"), program("tar", "tar"), program("xz", "xz-utils")];
/// For building a kernel with `kernel.config`.
pub const KERNEL: &[Need] = &[
    program("make", "make"),
    program("gcc", "gcc"),
    file(&["/usr/include/stdio.h"], "libc6-dev"),
    program("flex", "flex"),
    program("bison", "bison"),
    program("bc", "bc"),
    program("gawk", "gawk"),
    program("zstd", "zstd"),
    program("pahole", "dwarves"),
    file(&["/usr/include/gelf.h"], "libelf-dev"),
];
/// For building static programs for the guest.
pub const STATIC: &[Need] = &[
    program("gcc", "gcc"),
    file(&["/usr/lib/x86_64-linux-gnu/libc.a", "/usr/lib64/libc.a", "/usr/lib/libc.a"], "libc6-dev"),
];
/// For building the kernel's own selftests.
pub const SELFTEST: &[Need] = &[program("make", "make"), program("gcc", "gcc")];
/// For what `blackout` is held against.
pub const BPFTRACE: &[Need] = &[file(&[BPFTRACE_PATH], "bpftrace")];
/// Where it is, on the host and in the guest.
pub const BPFTRACE_PATH: &str = "/usr/bin/bpftrace";
/// For running the virtual machine.
pub const QEMU: &[Need] = &[program("qemu-system-x86_64", "qemu-system-x86")];
/// For making a package.
pub const PACKAGE: &[Need] = &[program("dpkg-deb", "dpkg"), program("xz", "xz-utils")];
/// For making a Debian root and a disk of it.
pub const ROOT: &[Need] =
    &[program("mmdebstrap", "mmdebstrap"), program("mke2fs", "e2fsprogs"), program("debugfs", "e2fsprogs")];
/// For the HTML report in a browser, if none of [`BROWSERS`] is there.
pub const BROWSER: &[Need] = &[
    program("chromium-headless-shell", "chromium-headless-shell"),
    file(&["/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"], "fonts-dejavu-core"),
];
/// Browsers that speak Chromium's protocol.
pub const BROWSERS: &[&str] = &["chromium-headless-shell", "chromium", "google-chrome", "chrome"];
/// For reading exports with programs that are not ours.
pub const READERS: &[Need] = &[
    program("python3", "python3"),
    file(&["/usr/lib/python3/dist-packages/ensurepip", "/usr/share/python-wheels"], "python3-venv"),
    program("node", "nodejs"),
    program("npm", "npm"),
    file(&[FLAMEGRAPH], "libdevel-nytprof-perl"),
];
/// Brendan Gregg's flamegraph.pl, as Debian has it.
pub const FLAMEGRAPH: &str = "/usr/share/perl5/Devel/NYTProf/flamegraph.pl";
/// For tests in a terminal.
pub const TERMINAL: &[Need] = &[program("tmux", "tmux")];
/// For workloads that are shell scripts.
pub const SHELL: &[Need] = &[file(BUSYBOX, "busybox-static")];
/// Where a busybox is looked for.
pub const BUSYBOX: &[&str] = &["/bin/busybox", "/usr/bin/busybox"];

/// Packages that are missing and cannot be installed without root.
#[derive(Debug, thiserror::Error)]
#[error("{step} needs packages that are not installed; as root, run:\n  apt-get install -y --no-install-recommends {}", .packages.join(" "))]
pub struct Missing {
    step: String,
    packages: Vec<&'static str>,
}

/// Makes sure that everything in `needs` is there: installs what is missing when root.
///
/// # Errors
/// [`Missing`] when not root or without `apt-get`; otherwise what `apt-get` reported.
pub fn require(step: &str, needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || find_program("apt-get").is_none() {
        return Err(Missing { step: step.into(), packages }.into());
    }
    let mut progress = Progress::start(format!("installing {} for {step}", packages.join(" ")));
    // Stays only when something fails, for the error message names it.
    let log = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let (_, log) = log.keep().context("cannot keep a temporary file")?;
    let apt = |arguments: &[&str], progress: &mut Progress| {
        let mut command = Command::new("apt-get");
        // Another installation that is at work is waited for: a boot's own, or another lab's.
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(arguments);
        exec::logged(&mut command, &log, progress)
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat();
    // The lists may be absent (container images) or too old for the mirror: then a second try helps.
    if apt(&install, &mut progress).is_err() {
        apt(&["update"], &mut progress)?;
        apt(&install, &mut progress)?;
    }
    progress.done();
    let _ = fs::remove_file(&log);
    let still = missing(needs);
    if still.is_empty() { Ok(()) } else { Err(Missing { step: step.into(), packages: still }.into()) }
}

/// The packages of `needs` whose program or file is not there.
fn missing(needs: &[Need]) -> Vec<&'static str> {
    let absent = |need: &&Need| match need.found_by {
        FoundBy::Program(name) => find_program(name).is_none(),
        FoundBy::File(paths) => !paths.iter().any(|path| Path::new(path).exists()),
    };
    let mut packages: Vec<&str> = needs.iter().filter(absent).map(|need| need.package).collect();
    packages.dedup();
    packages
}

/// Looks `name` up in `$PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_package_of_what_is_missing() {
        let needs =
            [program("sh", "dash"), program("no-such-program", "one"), file(&["/no/such/file", "/"], "two")];
        assert_eq!(missing(&needs), ["one"]);
        let error = Missing { step: "the kernel".into(), packages: vec!["one", "three"] };
        assert!(error.to_string().ends_with("--no-install-recommends one three"));
    }
}
