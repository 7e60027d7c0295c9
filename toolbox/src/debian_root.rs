//! The root file system: Debian's own packages, and a GRUB that QEMU boots as if it were a kernel.

use crate::cache::Cache;
use crate::exec;
use crate::program::{CHROOT, CP, MKE2FS, MMDEBSTRAP};
use crate::progress::Progress;
use crate::sources;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Raise it when the way the root is made changes.
const RECIPE: u8 = 1;
/// The suite of the roots.
pub const SUITE: &str = "bookworm";
/// What a host has, as far as we have to do with it.
const PACKAGES: &str = "systemd-sysv,udev,dbus,grub2-common,grub-pc-bin,kexec-tools,man-db";
const DISK_BYTES: u64 = 1 << 30;
/// What the core of GRUB needs to find its own configuration.
const GRUB_MODULES: [&str; 12] = [
    "biosdisk",
    "ext2",
    "part_msdos",
    "normal",
    "linux",
    "configfile",
    "search",
    "search_fs_uuid",
    "echo",
    "test",
    "gzio",
    "minicmd",
];

/// A clean root, not to be written to.
#[derive(Debug, Clone)]
pub struct Base {
    /// Image of an ext4 disk.
    pub disk: PathBuf,
    /// GRUB, which reads `/boot/grub/grub.cfg` of the first disk.
    pub grub: PathBuf,
}

/// The root, made at first use.
///
/// # Errors
/// When the user is not root, or the mirror cannot be reached.
pub fn base(cache: &Cache) -> Result<Base> {
    let dir = cache.path(format!("roots/{SUITE}-{RECIPE}"));
    let base = Base { disk: dir.join("disk.img"), grub: dir.join("grub.lkrn") };
    let _lock = cache.lock("roots")?;
    if base.disk.exists() && base.grub.exists() {
        return Ok(base);
    }
    ensure!(Root::permitted(), "the Debian root is made as root (mmdebstrap, chroot)");
    let scratch = cache.temporary()?;
    let log = cache.dir("roots")?.join(format!("{SUITE}-{RECIPE}.log"));
    let _ = fs::remove_file(&log);
    let root = scratch.path().join("root");
    let Some(mirror) = sources::system_mirror(Path::new("/etc/apt")) else {
        bail!("/etc/apt names no Debian mirror to make a root from");
    };
    let mut progress = Progress::start("making a Debian root (some minutes, once)");
    let mut mmdebstrap = MMDEBSTRAP.command()?;
    mmdebstrap.args(["--variant=minbase", "--mode=root", &format!("--include={PACKAGES}")]);
    mmdebstrap.arg(SUITE).arg(&root).arg(&mirror.uri);
    exec::logged(&mut mmdebstrap, &log, &mut progress)?;

    let grub = root.join("boot/grub/i386-pc");
    fs::create_dir_all(&grub)?;
    let modules = root.join("usr/lib/grub/i386-pc");
    exec::logged(CP.command()?.arg("-r").arg(modules.join(".")).arg(&grub), &log, &mut progress)?;
    let mut core = CHROOT.command()?;
    core.arg(&root).args(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0)/boot/grub", "-o", "/core.img"]);
    exec::logged(core.args(GRUB_MODULES), &log, &mut progress)?;
    let core = root.join("core.img");
    // In front of it, what makes a boot loader take it for a Linux kernel.
    let image = [fs::read(modules.join("lnxboot.img"))?, fs::read(&core)?].concat();
    fs::remove_file(core)?;

    fs::write(root.join("etc/default/grub"), GRUB_DEFAULTS)?;
    fs::write(root.join("etc/fstab"), "/dev/vda / ext4 defaults 0 1\n")?;
    fs::write(root.join("etc/hostname"), "blackout-host\n")?;
    let disk = scratch.path().join("disk.img");
    let mut mke2fs = MKE2FS.command()?;
    mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg(format!("{}k", DISK_BYTES >> 10));
    exec::logged(&mut mke2fs, &log, &mut progress)?;
    progress.done();

    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::write(&base.grub, image)?;
    fs::rename(&disk, &base.disk).with_context(|| format!("cannot write {}", base.disk.display()))?;
    Ok(base)
}

/// As an administrator would have it, but that the lab's console is a serial line.
const GRUB_DEFAULTS: &str = "\
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_TERMINAL=console
GRUB_CMDLINE_LINUX_DEFAULT=\"\"
GRUB_CMDLINE_LINUX=\"console=ttyS0 loglevel=4 panic=-1\"
GRUB_DISABLE_RECOVERY=true
";

/// GRUB's configuration, with kernel `parameters`, until `update-grub` has run on the host itself.
pub fn first_grub_cfg(release: &str, parameters: &str) -> String {
    format!(
        "linux /boot/vmlinuz-{release} root=/dev/vda ro console=ttyS0 loglevel=4 panic=-1 {parameters}\nboot\n"
    )
}

/// A root of its own, unpacked, to try packages in.
pub struct Root(PathBuf);

impl Root {
    /// Whether this user may make one: packages are unpacked as root.
    pub fn permitted() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Unpacks the clean root below `dir`.
    ///
    /// # Errors
    /// When the root cannot be made.
    pub fn unpack(cache: &Cache, dir: &Path) -> Result<Self> {
        let base = base(cache)?;
        let root = dir.join("root");
        crate::disk::take(&base.disk, "/", &root)?;
        // debugfs takes no device along, and scripts write into this one.
        let mode = Mode::from_bits_truncate(0o666);
        mknodat(CWD, root.join("dev/null"), FileType::CharacterDevice, mode, makedev(1, 3))
            .context("cannot make /dev/null")?;
        Ok(Self(root))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs a program in it; what it printed.
    ///
    /// # Errors
    /// When it fails; the message quotes its standard error.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let mut chroot = CHROOT.command()?;
        chroot.arg(&self.0).args(argv);
        chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        exec::output(chroot.env("LC_ALL", "C"))
    }

    /// Every file in it, relative to it.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.0.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    open.push(entry.path());
                } else if let Ok(relative) = entry.path().strip_prefix(&self.0) {
                    found.insert(relative.to_string_lossy().into_owned());
                }
            }
        }
        Ok(found)
    }
}
