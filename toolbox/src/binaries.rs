//! The programs of this workspace, built static for the guest, and the plugin of QEMU.

use crate::exec;
use crate::needs;
use crate::program;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What they are built for.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Static builds for the guest; they run on the host as well.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// This program: init of both kernels.
    pub lab: PathBuf,
    /// The profiler.
    pub blackout: PathBuf,
}

/// Builds them in a target folder of their own, so that the user's builds are not disturbed.
///
/// # Errors
/// When a package is missing or the build fails.
pub fn build() -> Result<Binaries> {
    let packages = ["-p", "profiler", "-p", "lab", "--bins"];
    let dir = cargo("blackout for the guest", &packages, "-C target-feature=+crt-static")?;
    Ok(Binaries { lab: dir.join("blackout-lab"), blackout: dir.join("blackout") })
}

/// Likewise, the library that counts the machine's instructions inside QEMU. It is not static: a program loads it.
///
/// # Errors
/// As [`build`].
pub fn plugin() -> Result<PathBuf> {
    Ok(cargo("the plugin of QEMU", &["-p", "lab-plugin"], "")?.join("liblab_plugin.so"))
}

/// Builds `packages`, and gives the folder of what came of it.
fn cargo(what: &str, packages: &[&str], flags: &str) -> Result<PathBuf> {
    needs::require("building programs", needs::STATIC)?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = workspace.canonicalize().context("the lab builds from its checkout, which is gone")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let target = target.join("lab");
    let mut command = program::cargo();
    // What an outer cargo set for its own build is not meant for this one.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    // Nor what it says of its own package: build scripts look at it, and build anew when it is another's.
    let of_a_package = |name: &OsString| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
    };
    for name in env::vars_os().map(|(name, _)| name).filter(of_a_package) {
        command.env_remove(name);
    }
    command
        .current_dir(&workspace)
        .env("RUSTFLAGS", flags)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .args(packages)
        .arg("--target-dir")
        .arg(&target);
    fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
    let log = target.join("lab-build.log");
    let _ = fs::remove_file(&log);
    let mut progress = Progress::start(format!("building {what}"));
    exec::logged(&mut command, &log, &mut progress)?;
    progress.done();
    Ok(target.join(TARGET).join("release"))
}
