//! What the eBPF programs are built with: pinned, because the built object is committed and another compiler
//! gives other bytes.

use crate::sysroot::LIBRARY;
use crate::{tools, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toolbox::apt::{self, Apt, Package};
use toolbox::{cache::Cache, exec, needs};

/// Version of rustc.
pub const RUSTC: &str = "1.95.0";
/// Version of LLVM inside rustc: a distribution's rustc of the same version may bring another.
const LLVM: &str = "22.1.2";
/// Version of bpf-linker; this one loads rustc's own LLVM, so that none has to be installed.
pub const BPF_LINKER: &str = "0.10.4";
/// A complete toolchain.
#[derive(Debug)]
pub struct Toolchain {
    /// Words before `cargo` or `rustc`: how this toolchain is called.
    prefix: &'static [&'static str],
    /// The linker.
    pub linker: PathBuf,
    /// Where rustc has its own libraries.
    pub sysroot: PathBuf,
    /// The sources of the standard library: there is no built one for BPF.
    pub library: PathBuf,
}

impl Toolchain {
    /// Finds or fetches everything, into `cache`.
    ///
    /// # Errors
    /// When something is neither here nor to be had from the crate registry or the machine's Debian mirror.
    pub fn obtain(cache: &Cache) -> Result<Self> {
        let rustup: &[&str] = &["rustup", "run", RUSTC];
        let Some(prefix) = [&[], rustup].into_iter().find(|prefix| is_pinned(prefix)) else {
            bail!("no rustc {RUSTC} with LLVM {LLVM} here; with rustup: rustup toolchain install {RUSTC}");
        };
        let linker = tools::installed(cache, "bpf-linker", BPF_LINKER)?;
        let sysroot = exec::output(program(prefix, "rustc")?.args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim());
        let library = library(cache, &sysroot)?;
        Ok(Self { prefix, linker, sysroot, library })
    }

    /// This toolchain's cargo, in the checkout.
    ///
    /// # Errors
    /// When the checkout is gone.
    pub fn cargo(&self) -> Result<Command> {
        program(self.prefix, "cargo")
    }
}

fn program(prefix: &[&str], name: &str) -> Result<Command> {
    let words = [prefix, &[name]].concat();
    let mut command = workspace::command(words[0])?;
    // The cargo that runs us puts its own libraries there, with an LLVM that the linker might take.
    command.args(&words[1..]).env_remove("LD_LIBRARY_PATH");
    Ok(command)
}

fn is_pinned(prefix: &[&str]) -> bool {
    let version = program(prefix, "rustc").and_then(|mut rustc| exec::output(rustc.arg("-vV")));
    version.is_ok_and(|text| says_pinned(&text))
}

/// Whether this output of `rustc -vV` is that of the pinned compiler.
fn says_pinned(text: &str) -> bool {
    let has = |key: &str, value: &str| {
        text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim() == value))
    };
    has("release:", RUSTC) && has("LLVM version:", LLVM)
}

/// The sysroot's own sources if it has them (rustup's component rust-src), else Debian's, in the cache.
fn library(cache: &Cache, sysroot: &Path) -> Result<PathBuf> {
    let own = sysroot.join(LIBRARY);
    if own.join("Cargo.lock").is_file() {
        return Ok(own);
    }
    let kept = cache.path(format!("tools/rust-src-{RUSTC}"));
    let _lock = cache.lock("tools")?;
    if kept.is_dir() {
        return Ok(kept);
    }
    needs::require("unpacking rust-src", needs::UNPACK)?;
    let package = Package { name: "rust-src".into(), version: format!("{RUSTC}+*") };
    let scratch = cache.temporary()?;
    let apt = Apt::update(cache, apt::NEWEST)?;
    let debs = apt.download(&[package], scratch.path()).context(
        "neither rustup (rustup component add rust-src) nor Debian has the standard library's sources",
    )?;
    let unpacked = scratch.path().join("unpacked");
    apt::unpack(&debs, &unpacked)?;
    let library = unpacked.join(format!("usr/src/rustc-{RUSTC}/library"));
    fs::rename(&library, &kept)
        .with_context(|| format!("cannot move {} to {}", library.display(), kept.display()))?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_compiler_is_not_taken() {
        let text = |release, llvm| format!("rustc\nhost: x\nrelease: {release}\nLLVM version: {llvm}\n");
        assert!(says_pinned(&text(RUSTC, LLVM)));
        assert!(!says_pinned(&text("1.95.0-nightly", LLVM)));
        assert!(!says_pinned(&text(RUSTC, "21.1.8")));
        assert!(!says_pinned(""));
    }
}
