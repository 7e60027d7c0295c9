//! External programs, each with the Debian package that ships it.
//!
//! A program is run by [`Program::command`], which makes sure of its package first: no caller can forget it.
//! `clippy.toml` of the crates that run programs forbids `std::process::Command::new`.

use crate::needs::{self, Need};
use anyhow::Result;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An external program, and the Debian package that ships it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// A file that is read and not run (a header, a font, a script), and the Debian package that ships it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageFile {
    /// Where distributions put it.
    pub(crate) paths: &'static [&'static str],
    pub(crate) package: &'static str,
}

impl Program {
    /// The program `name`, as the Debian package `package` ships it.
    pub const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }

    /// This program as a need of a step.
    pub const fn need(self) -> Need {
        Need::Program(self)
    }

    /// Where the program is in `$PATH`.
    pub fn find(self) -> Option<PathBuf> {
        find_in_path(self.name)
    }

    /// Returns a command that runs the program, after making sure that its package is installed.
    ///
    /// # Errors
    /// When the package is missing and cannot be installed.
    pub fn command(self) -> Result<Command> {
        needs::require(self.name, &[self.need()])?;
        Ok(command(self.name))
    }
}

impl PackageFile {
    /// A file at one of `paths`, as the Debian package `package` ships it.
    pub const fn new(paths: &'static [&'static str], package: &'static str) -> Self {
        Self { paths, package }
    }

    /// This file as a need of a step.
    pub const fn need(self) -> Need {
        Need::File(self)
    }

    /// Where the file is.
    pub fn find(self) -> Option<&'static Path> {
        self.paths.iter().map(Path::new).find(|path| path.exists())
    }

    /// Returns the path of the file, after making sure that its package is installed.
    ///
    /// # Errors
    /// When the package is missing and cannot be installed.
    pub fn path(self) -> Result<&'static Path> {
        needs::require(self.paths[0], &[self.need()])?;
        Ok(self.find().unwrap_or(Path::new(self.paths[0])))
    }
}

/// Returns a command that runs a program which no package of this system has to ship: one that this workspace built,
/// one of the cache or of the lab's initramfs, a shell, or the Rust toolchain.
#[expect(clippy::disallowed_methods, reason = "here programs of packages and others part ways")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// The cargo that runs this program, or the one in `$PATH`.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Looks `name` up in `$PATH`.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Compiler of C.
pub const GCC: Program = Program::new("gcc", "gcc");
/// Builds kernels and selftests.
pub const MAKE: Program = Program::new("make", "make");
/// Unpacks a Debian package; part of every Debian system.
pub const DPKG_DEB: Program = Program::new("dpkg-deb", "dpkg");
/// Part of every Debian system.
pub const TAR: Program = Program::new("tar", "tar");
/// `tar -J` runs it.
pub const XZ: Program = Program::new("xz", "xz-utils");
/// Compresses manual pages; part of every Debian system.
pub const GZIP: Program = Program::new("gzip", "gzip");
/// Part of every Debian system.
pub const CP: Program = Program::new("cp", "coreutils");
/// Part of every Debian system.
pub const CHROOT: Program = Program::new("chroot", "coreutils");
/// Part of every Debian system.
pub const SHA256SUM: Program = Program::new("sha256sum", "coreutils");
/// Gives a command mounts of its own; part of every Debian system.
pub const UNSHARE: Program = Program::new("unshare", "util-linux");
/// Clones the checkout.
pub const GIT: Program = Program::new("git", "git");
/// Lists the libraries of a program; part of every Debian system.
pub const LDD: Program = Program::new("ldd", "libc-bin");
/// Installs packages.
pub const APT_GET: Program = Program::new("apt-get", "apt");
/// Looks packages up.
pub const APT_CACHE: Program = Program::new("apt-cache", "apt");
/// Makes a Debian root file system.
pub const MMDEBSTRAP: Program = Program::new("mmdebstrap", "mmdebstrap");
/// Makes a disk image of a folder.
pub const MKE2FS: Program = Program::new("mke2fs", "e2fsprogs");
/// Reads and writes a disk image that is not mounted.
pub const DEBUGFS: Program = Program::new("debugfs", "e2fsprogs");
/// The virtual machine, where none can be unpacked.
pub const QEMU: Program = Program::new("qemu-system-x86_64", "qemu-system-x86");
/// A terminal for tests.
pub const TMUX: Program = Program::new("tmux", "tmux");
/// Runs scripts that read exports.
pub const PYTHON: Program = Program::new("python3", "python3");
/// Runs scripts that read exports.
pub const NODE: Program = Program::new("node", "nodejs");
/// Installs packages for Node.js.
pub const NPM: Program = Program::new("npm", "npm");
/// A browser for the HTML report.
pub const CHROMIUM: Program = Program::new("chromium-headless-shell", "chromium-headless-shell");

/// What `blackout` is compared with.
pub const BPFTRACE: PackageFile = PackageFile::new(&["/usr/bin/bpftrace"], "bpftrace");
/// A shell for workloads that are scripts; it must be a static program.
pub const BUSYBOX: PackageFile = PackageFile::new(&["/bin/busybox", "/usr/bin/busybox"], "busybox-static");
/// Brendan Gregg's `flamegraph.pl`, as Debian ships it.
pub const FLAMEGRAPH: PackageFile =
    PackageFile::new(&["/usr/share/perl5/Devel/NYTProf/flamegraph.pl"], "libdevel-nytprof-perl");
