//! A minimal Debian root, and commands in it.

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use toolbox::cache::Cache;
use toolbox::debian_root::{Root, SUITE};
use toolbox::program::{CP, GIT, MMDEBSTRAP, TAR, UNSHARE};
use toolbox::progress::Progress;
use toolbox::{exec, program, sources};

/// How this machine reaches its mirrors: certificates, and apt's settings such as a proxy.
const REACH: [&str; 2] = ["/etc/ssl/certs", "/etc/apt/apt.conf.d"];
/// Raise it when the way the root is made changes.
const RECIPE: u8 = 1;
/// What the README asks for beside Rust: the linker that rustc calls. And what rustup needs to be had at all.
const PACKAGES: &str = "gcc,libc6-dev,ca-certificates";
/// Where the toolchain is in the root.
const RUST: &str = "/opt/rust";
/// The number of the ordinary user and of their group.
const ORDINARY: u32 = 1000;
/// Mounts what a running system has and what is shared with it, then runs a command in the root: `ROOT FROM TO ... --
/// COMMAND`. The mounts end with it.
const ENTER: &str = r#"
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind -o ro "$1" "$root$2"
    shift 2
done
shift
exec chroot "$@"
"#;

/// Who runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum User {
    /// Root, who may install packages
    Root,
    /// A user without privileges
    Ordinary,
}

impl User {
    fn home(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "home/user",
        }
    }

    fn id(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary => ORDINARY,
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Ordinary => "ordinary user",
        })
    }
}

/// A Debian root that nothing was done in yet.
pub struct FreshRoot {
    root: PathBuf,
    /// Folders of this machine, and where they are in the root.
    shared: Vec<(PathBuf, String)>,
}

impl FreshRoot {
    /// Unpacks a root into a folder of `dir`; the first one is made.
    ///
    /// # Errors
    /// When not root, or the mirror cannot be reached.
    pub fn make(cache: &Cache, dir: &Path) -> Result<Self> {
        ensure!(Root::permitted(), "a fresh root is made as root (mmdebstrap, chroot)");
        let archive = archive(cache)?;
        let root = dir.join("root");
        fs::create_dir(&root).with_context(|| format!("cannot create {}", root.display()))?;
        // The temporary folder around it is closed to others.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        exec::output(TAR.command()?.arg("-xf").arg(archive).arg("-C").arg(&root))?;
        for file in ["etc/resolv.conf", "etc/hosts"] {
            fs::copy(Path::new("/").join(file), root.join(file))
                .with_context(|| format!("cannot copy /{file}"))?;
        }
        let shared = REACH.into_iter().filter(|dir| Path::new(dir).is_dir());
        let shared = shared.map(|dir| (PathBuf::from(dir), dir.to_owned())).collect();
        let root = Self { root, shared };
        let log = dir.join("log");
        root.run(User::Root, "useradd --create-home --uid 1000 user", &log)?;
        root.run(User::Root, "apt-get update", &log)?;
        Ok(root)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Puts a clone of the checkout into the home of `user`, with the toolchain and the crates that this machine has.
    ///
    /// # Errors
    /// When something cannot be copied.
    pub fn add_checkout(&mut self, user: User) -> Result<()> {
        let home = self.root.join(user.home());
        let mut rustc = program::command("rustc");
        let sysroot = exec::output(rustc.args(["--print", "sysroot"]).current_dir(workspace::root()?))?;
        self.shared.push((PathBuf::from(sysroot.trim()), RUST.into()));
        let mut clone = GIT.command()?;
        clone.args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace::root()?).arg(home.join("blackout"));
        exec::output(&mut clone)?;
        let cargo_home = match env::var_os("CARGO_HOME").filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
        };
        let registry = home.join(".cargo/registry");
        fs::create_dir_all(&registry).with_context(|| format!("cannot create {}", registry.display()))?;
        for part in ["cache", "index"] {
            let from = cargo_home.join("registry").join(part);
            if from.is_dir() {
                exec::output(CP.command()?.arg("-r").arg(&from).arg(&registry))?;
            }
        }
        own(&home, user)
    }

    /// Lets `user` have the kernels of the cache.
    ///
    /// # Errors
    /// When the cache has none.
    pub fn add_kernels(&mut self, cache: &Cache, user: User) -> Result<()> {
        let kernels = cache.path("kernels");
        ensure!(kernels.is_dir(), "the cache has no kernels: run `cargo lab` first, or leave --warm out");
        let at = format!("/{}/.cache/blackout/kernels", user.home());
        let place = self.root.join(&at[1..]);
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        self.shared.push((kernels, at));
        own(&self.root.join(user.home()), user)
    }

    /// Runs a line of words in the root, in the checkout if there is one; what it prints goes to `log`.
    ///
    /// # Errors
    /// When it fails; the message quotes its last lines.
    pub fn run(&self, user: User, line: &str, log: &Path) -> Result<()> {
        let mut progress = Progress::start(format!("fresh root, {user}: {line}"));
        let mut command = UNSHARE.command()?;
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]).arg(&self.root);
        for (from, to) in &self.shared {
            command.arg(from).arg(to);
        }
        let home = format!("/{}", user.home());
        command.arg("--").arg(format!("--userspec={0}:{0}", user.id())).arg(&self.root);
        command.args(["/usr/bin/env", "-i"]).arg(format!("HOME={home}")).arg(format!("USER={user}"));
        command.arg(format!("PATH={RUST}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.args(["LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "TERM=dumb"]);
        for (name, value) in env::vars() {
            if name.to_lowercase().ends_with("_proxy") {
                command.arg(format!("{name}={value}"));
            }
        }
        let script = "cd \"$HOME/blackout\" 2>/dev/null || cd; exec \"$@\"";
        command.args(["sh", "-c", script, "sh"]).args(line.split(' '));
        exec::logged(&mut command, log, &mut progress)
            .with_context(|| format!("in a fresh root, as {user}: `{line}`"))?;
        progress.done();
        Ok(())
    }
}

/// The archive of the root, made at first use.
fn archive(cache: &Cache) -> Result<PathBuf> {
    let archive = cache.dir("roots")?.join(format!("fresh-{SUITE}-{RECIPE}.tar"));
    let _lock = cache.lock("fresh")?;
    if archive.exists() {
        return Ok(archive);
    }
    let Some(mirror) = sources::system_mirror(Path::new("/etc/apt")) else {
        bail!("/etc/apt names no Debian mirror to make a root from");
    };
    let scratch = cache.temporary()?;
    let made = scratch.path().join("fresh.tar");
    let mut mmdebstrap = MMDEBSTRAP.command()?;
    mmdebstrap.args(["--variant=minbase", "--mode=root", "--format=tar", &format!("--include={PACKAGES}")]);
    mmdebstrap.arg(SUITE).arg(&made).arg(&mirror.uri);
    let mut progress = Progress::start("making a fresh Debian root");
    exec::logged(&mut mmdebstrap, &cache.dir("roots")?.join("fresh.log"), &mut progress)?;
    progress.done();
    fs::rename(&made, &archive).with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(archive)
}

/// Gives `dir` and what is below it to `user`.
fn own(dir: &Path, user: User) -> Result<()> {
    if user == User::Root {
        return Ok(());
    }
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        // Links themselves: what they name may be outside of the root.
        lchown(&path, Some(user.id()), Some(user.id()))
            .with_context(|| format!("cannot change the owner of {}", path.display()))?;
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}
