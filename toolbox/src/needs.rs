//! Which programs and files a step needs, and installing the packages that ship them.
//!
//! Every program makes sure of itself when it is run ([`Program::command`]). A command that takes long
//! [declares](declare) all of its needs first, so that a user without root is given one `apt-get` line at the
//! beginning and not one package after another. A program that is run and was not declared is an error on every
//! machine, also where its package happens to be installed.

use crate::exec;
use crate::program::{self, PackageFile, Program};
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Something that a step needs from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A program in `$PATH`.
    Program(Program),
    /// A file.
    File(PackageFile),
    /// A browser that speaks Chromium's protocol: any that is installed, else Debian's headless Chromium.
    Browser,
}

/// Part of every Debian system: these are declared by everyone, and are missing only on other systems.
const ESSENTIAL: &[Need] = &[
    program::DPKG_DEB.need(),
    program::TAR.need(),
    program::GZIP.need(),
    program::CP.need(),
    program::CHROOT.need(),
    program::UNSHARE.need(),
    program::SHA256SUM.need(),
    program::LDD.need(),
    program::APT_GET.need(),
    program::APT_CACHE.need(),
];
/// Unpacking a kernel's source package.
pub const UNPACK: &[Need] = &[program::DPKG_DEB.need(), program::TAR.need(), program::XZ.need()];
/// Building a kernel with `kernel.config`.
pub const KERNEL: &[Need] = &[
    program::MAKE.need(),
    program::GCC.need(),
    PackageFile::new(&["/usr/include/stdio.h"], "libc6-dev").need(),
    Program::new("flex", "flex").need(),
    Program::new("bison", "bison").need(),
    Program::new("bc", "bc").need(),
    Program::new("gawk", "gawk").need(),
    Program::new("zstd", "zstd").need(),
    Program::new("pahole", "dwarves").need(),
    // scripts/bpf_doc.py, for libbpf's own build.
    program::PYTHON.need(),
    PackageFile::new(&["/usr/include/gelf.h"], "libelf-dev").need(),
];
/// Building static programs.
pub const STATIC: &[Need] = &[
    program::GCC.need(),
    PackageFile::new(
        &["/usr/lib/x86_64-linux-gnu/libc.a", "/usr/lib64/libc.a", "/usr/lib/libc.a"],
        "libc6-dev",
    )
    .need(),
];
/// Building the kernel's own selftests.
pub const SELFTEST: &[Need] = &[program::MAKE.need(), program::GCC.need()];
/// What `blackout` is compared with.
pub const BPFTRACE: &[Need] = &[program::BPFTRACE.need()];
/// Running the virtual machine with the system's own emulator.
pub const QEMU: &[Need] = &[program::QEMU.need()];
/// Making a Debian package.
pub const PACKAGE: &[Need] = &[program::DPKG_DEB.need(), program::XZ.need()];
/// Making a Debian root and a disk of it.
pub const DEBIAN_ROOT: &[Need] =
    &[program::MMDEBSTRAP.need(), program::MKE2FS.need(), program::DEBUGFS.need()];
/// Making a fresh root and running commands in it.
pub const FRESH: &[Need] =
    &[program::MMDEBSTRAP.need(), program::UNSHARE.need(), program::GIT.need(), program::TAR.need()];
/// The HTML report in a browser.
pub const BROWSER: &[Need] = &[
    Need::Browser,
    PackageFile::new(&["/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"], "fonts-dejavu-core").need(),
];
/// Reading exports with the programs of others.
pub const READERS: &[Need] = &[
    program::PYTHON.need(),
    PYTHON_VENV,
    program::NODE.need(),
    program::NPM.need(),
    program::FLAMEGRAPH.need(),
];
/// A Python with packages of its own.
pub const PYTHON: &[Need] = &[program::PYTHON.need(), PYTHON_VENV];
/// Tests in a terminal.
pub const TERMINAL: &[Need] = &[program::TMUX.need()];
/// Workloads that are shell scripts.
pub const SHELL: &[Need] = &[program::BUSYBOX.need()];

const PYTHON_VENV: Need = PackageFile::new(
    &["/usr/lib/python3/dist-packages/ensurepip", "/usr/share/python-wheels"],
    "python3-venv",
)
.need();
/// Browsers that speak Chromium's protocol.
const BROWSERS: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome"];

/// How packages are installed by hand.
pub const INSTALL: &str = "apt-get install -y --no-install-recommends";

/// The needs that this process declared.
static DECLARED: OnceLock<Vec<Need>> = OnceLock::new();

/// Packages that are missing and cannot be installed without root.
#[derive(Debug, thiserror::Error)]
#[error("{step} needs packages that are not installed; as root, run:\n  {INSTALL} {}", .packages.join(" "))]
pub struct Missing {
    step: String,
    packages: Vec<&'static str>,
}

/// A need that is used but was not declared.
#[derive(Debug, thiserror::Error)]
#[error(
    "{step} needs the package {package}, which this command does not declare: add it to the command's needs"
)]
pub struct Undeclared {
    step: String,
    package: &'static str,
}

/// Declares all needs of this process, and makes sure of them at once: installs what is missing when root.
///
/// # Errors
/// As [`require`].
pub fn declare(step: &str, needs: &[&[Need]]) -> Result<()> {
    let needs = needs.concat();
    install(step, &needs)?;
    // A second declaration of one process adds nothing: the first names all.
    let _ = DECLARED.set([ESSENTIAL, needs.as_slice()].concat());
    Ok(())
}

/// Makes sure of everything in `needs`: installs what is missing when root.
///
/// # Errors
/// [`Undeclared`] if this process declared its needs and these are not among them; [`Missing`] when not root or
/// without `apt-get`; otherwise what `apt-get` reported.
pub fn require(step: &str, needs: &[Need]) -> Result<()> {
    if let Some(declared) = DECLARED.get()
        && let Some(need) = undeclared(declared, needs)
    {
        return Err(Undeclared { step: step.into(), package: need.package() }.into());
    }
    install(step, needs)
}

fn install(step: &str, needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || program::APT_GET.find().is_none() {
        return Err(Missing { step: step.into(), packages }.into());
    }
    let mut progress = Progress::start(format!("installing {} for {step}", packages.join(" ")));
    // The log stays only when something fails, because the error message names it.
    let log = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let (_, log) = log.keep().context("cannot keep a temporary file")?;
    let apt = |arguments: &[&str], progress: &mut Progress| {
        let mut command = program::command(program::APT_GET.name);
        // Waits for another installation: that of a boot, or of another lab.
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

impl Need {
    /// The Debian package that ships it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Program(program) => program.package,
            Self::File(file) => file.package,
            Self::Browser => program::CHROMIUM.package,
        }
    }

    /// Whether it is there.
    pub fn is_met(self) -> bool {
        match self {
            Self::Program(program) => program.find().is_some(),
            Self::File(file) => file.find().is_some(),
            Self::Browser => BROWSERS.iter().any(|name| program::find_in_path(name).is_some()),
        }
    }

    /// Whether it is there in the file system below `root`.
    pub fn is_met_below(self, root: &Path) -> bool {
        // Links are not followed: an absolute one would lead out of the root.
        let exists = |path: &str| root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        let program = |name: &str| PROGRAM_DIRS.iter().any(|dir| exists(&format!("{dir}/{name}")));
        match self {
            Self::Program(Program { name, .. }) => program(name),
            Self::File(file) => file.paths.iter().any(|path| exists(path)),
            Self::Browser => BROWSERS.iter().any(|name| program(name)),
        }
    }
}

/// Where Debian's packages have programs.
const PROGRAM_DIRS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// The packages of the needs that are not met, each once, in the order of the needs.
pub fn missing(needs: &[Need]) -> Vec<&'static str> {
    missing_where(needs, Need::is_met)
}

/// Likewise of the file system below `root`.
pub fn missing_below(root: &Path, needs: &[Need]) -> Vec<&'static str> {
    missing_where(needs, |need| need.is_met_below(root))
}

fn missing_where(needs: &[Need], is_met: impl Fn(Need) -> bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in needs.iter().filter(|need| !is_met(**need)) {
        if !packages.contains(&need.package()) {
            packages.push(need.package());
        }
    }
    packages
}

/// The first of `needs` that is not among the `declared` ones.
fn undeclared(declared: &[Need], needs: &[Need]) -> Option<Need> {
    needs.iter().copied().find(|need| !declared.contains(need))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_missing_package_once() {
        let needs = [
            Program::new("sh", "dash").need(),
            Program::new("no-such-program", "one").need(),
            PackageFile::new(&["/no/such/file", "/"], "two").need(),
            Program::new("no-such-either", "three").need(),
            PackageFile::new(&["/no/such/file"], "one").need(),
        ];
        assert_eq!(missing(&needs), ["one", "three"]);
        assert_eq!(missing_below(Path::new("/"), &needs), ["one", "three"]);
        assert_eq!(missing_below(Path::new("/no/such/root"), &needs), ["dash", "one", "two", "three"]);
        let error = Missing { step: "the kernel".into(), packages: missing(&needs) };
        assert!(error.to_string().ends_with("--no-install-recommends one three"));
    }

    #[test]
    fn a_need_that_was_not_declared_is_found_where_its_package_is_installed() {
        let declared = [ESSENTIAL, UNPACK].concat();
        assert_eq!(undeclared(&declared, UNPACK), None);
        let shell = Program::new("sh", "dash").need();
        assert!(shell.is_met());
        assert_eq!(undeclared(&declared, &[program::TAR.need(), shell]), Some(shell));
    }
}
