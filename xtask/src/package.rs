//! The Debian package, and trying it in a clean root.

use crate::tools;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use toolbox::debian_root::Root;
use toolbox::program::{self, GZIP};
use toolbox::progress::Progress;
use toolbox::{binaries, cache::Cache, exec, needs};

/// Version of cargo-deb.
const CARGO_DEB: &str = "3.8.0";
/// The target that static programs are built for.
const TARGET: &str = binaries::TARGET;
/// Shells, and the name of the file with their completions.
const SHELLS: [(&str, &str); 3] =
    [("bash", "blackout.bash"), ("zsh", "_blackout"), ("fish", "blackout.fish")];

/// Builds the package and prints its path.
///
/// # Errors
/// When it cannot be built.
pub fn write() -> Result<()> {
    println!("{}", build(None)?.display());
    Ok(())
}

/// Builds the package; `version` instead of the crate's own.
///
/// # Errors
/// When the program, its manual or the package cannot be built.
pub fn build(version: Option<&str>) -> Result<PathBuf> {
    needs::require("the package", needs::PACKAGE)?;
    let cargo_deb = tools::installed(&Cache::open()?, "cargo-deb", CARGO_DEB)?;
    let program = binaries::build()?.blackout;
    let dir = program.parent().context("the program lies nowhere")?;
    manual(&program, dir)?;
    let target = dir.parent().and_then(Path::parent).context("the program lies in no target folder")?;
    let version = version.unwrap_or(VERSION);
    let packages = workspace::target("package")?;
    fs::create_dir_all(&packages)?;
    let deb = packages.join(format!("blackout_{version}_amd64.deb"));
    let mut command = workspace::command(cargo_deb)?;
    command.env("CARGO_TARGET_DIR", target);
    command.args(["deb", "--package", "profiler", "--no-build", "--no-strip", "--quiet", "--target", TARGET]);
    command.args(["--deb-version", version, "--output"]).arg(&deb);
    exec::output(&mut command)?;
    Ok(deb)
}

/// Of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Manual pages and completions, beside the program that makes them.
fn manual(program: &Path, dir: &Path) -> Result<()> {
    let pages = dir.join("man");
    // Of an older build there may be pages that are no more.
    let _ = fs::remove_dir_all(&pages);
    exec::output(program::command(program).arg("man").arg(&pages))?;
    // As Debian's policy wants them; without a time, so that the same pages give the same package.
    exec::output(GZIP.command()?.args(["--best", "--no-name", "--recursive"]).arg(&pages))?;
    let completions = dir.join("completions");
    fs::create_dir_all(&completions)?;
    for (shell, name) in SHELLS {
        let script = exec::output(program::command(program).args(["completions", shell]))?;
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

/// Installs, upgrades, removes and purges the package in a clean Debian root, and holds what is left against what was
/// there before.
///
/// # Errors
/// When a step fails, or leaves something behind.
pub fn check() -> Result<()> {
    if !Root::permitted() {
        eprintln!("xtask: the package is not tried: its clean Debian root is made as root");
        return Ok(());
    }
    let first = build(None)?;
    let second = build(Some("99.0.0"))?;
    let cache = Cache::open()?;
    let scratch = cache.temporary()?;
    let root = Root::unpack(&cache, scratch.path())?;
    let mut progress = Progress::start("the package in a clean Debian root");
    let clean = root.files()?;
    for (deb, version) in [(&first, VERSION), (&second, "99.0.0")] {
        fs::copy(deb, root.path().join("blackout.deb"))?;
        root.run(&["dpkg", "-i", "/blackout.deb"])?;
        fs::remove_file(root.path().join("blackout.deb"))?;
        let status = root.run(&["dpkg-query", "--show", "--showformat=${Status} ${Version}", "blackout"])?;
        ensure!(status == format!("install ok installed {version}"), "dpkg says: {status}");
        progress.note(&format!("installed {version}"));
        if version == VERSION {
            // From outside: it is no system that runs, whose boot loader could be told.
            let setup = ["setup", "--apply", "--root"];
            exec::output(program::command(binaries::build()?.blackout).args(setup).arg(root.path()))?;
            fs::write(root.path().join("etc/default/blackout"), "KEEP=7\n")?;
        }
    }
    let settings = fs::read_to_string(root.path().join("etc/default/blackout"))?;
    ensure!(settings == "KEEP=7\n", "the upgrade replaced the administrator's settings");
    ensure!(root.run(&["blackout", "setup"])?.contains("nothing to do"), "the upgrade undid the setup");
    root.run(&["blackout", "--version"])?;
    for page in ["blackout", "blackout-arm", "blackout-setup"] {
        let path = root.path().join(format!("usr/share/man/man1/{page}.1.gz"));
        ensure!(path.exists(), "no {}", path.display());
    }
    fs::write(root.path().join("var/lib/blackout/0000000000000000.blackout"), "")?;
    root.run(&["dpkg", "--remove", "blackout"])?;
    let removed = root.files()?;
    let left = difference(&clean, &removed);
    let expected = ["etc/default/blackout", "var/lib/blackout/0000000000000000.blackout"];
    ensure!(left == expected, "removed, and these are left: {left:?}");
    root.run(&["dpkg", "--purge", "blackout"])?;
    let purged = root.files()?;
    let left = difference(&clean, &purged);
    ensure!(left.is_empty(), "purged, and these are left: {left:?}");
    progress.note("removed and purged; nothing is left");
    progress.done();
    Ok(())
}

/// What dpkg itself keeps books in, and caches of others.
fn books(path: &str) -> bool {
    ["var/lib/dpkg/", "var/log/", "var/cache/", "run/"].iter().any(|dir| path.starts_with(dir))
}

fn difference<'a>(before: &'a BTreeSet<String>, after: &'a BTreeSet<String>) -> Vec<&'a str> {
    after.difference(before).map(String::as_str).filter(|path| !books(path)).collect()
}
