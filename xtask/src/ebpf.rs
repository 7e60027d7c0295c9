//! `cargo xtask ebpf`: from the source of the eBPF programs to the object that is committed.

use crate::toolchain::Toolchain;
use crate::{digest, sysroot, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use toolbox::cache::Cache;

/// Little-endian: the only byte order of the hosts we know.
const TARGET: &str = "bpfel-unknown-none";
/// Where the object and its digest are committed.
const PREBUILT: &str = "profiler-ebpf/prebuilt";
const OBJECT: &str = "blackout-probes.bpf.o";
const DIGEST: &str = "blackout-probes.digest";

/// Builds the object and writes it and its digest.
///
/// # Errors
/// When the toolchain cannot be had or the build fails.
pub fn write() -> Result<()> {
    let root = workspace::root()?;
    let object = build(&Toolchain::obtain(&Cache::open()?)?)?;
    let digest = digest::of(&root, &object)?;
    for (name, content) in [(OBJECT, object.as_slice()), (DIGEST, digest.as_bytes())] {
        let path = root.join(PREBUILT).join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: wrote {PREBUILT}/{name}, {} bytes", content.len());
    }
    Ok(())
}

/// Checks the committed object against its sources, then against a build of its own.
///
/// # Errors
/// When it is stale. A toolchain that cannot be had is a warning: then only the digest was checked.
pub fn check() -> Result<()> {
    let root = workspace::root()?;
    let committed = read(&root.join(PREBUILT).join(OBJECT))?;
    let recorded = String::from_utf8(read(&root.join(PREBUILT).join(DIGEST))?)
        .with_context(|| format!("{PREBUILT}/{DIGEST}"))?;
    let now = digest::of(&root, &committed)?;
    let differing = digest::differing(&recorded, &now);
    if !differing.is_empty() {
        bail!(
            "{PREBUILT}/{OBJECT} is not of these sources ({} changed): run `cargo xtask ebpf` and commit",
            differing.join(", ")
        );
    }
    let toolchain = match Cache::open().and_then(|cache| Toolchain::obtain(&cache)) {
        Ok(toolchain) => toolchain,
        Err(error) => {
            eprintln!("{}", boxed(&unavailable(&error)));
            return Ok(());
        }
    };
    if build(&toolchain)? != committed {
        bail!("{PREBUILT}/{OBJECT} is not what its sources give: run `cargo xtask ebpf` and commit");
    }
    eprintln!("xtask: {PREBUILT}/{OBJECT} is what its sources give, byte for byte");
    Ok(())
}

/// Builds the programs in a target folder of their own.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = workspace::target("ebpf")?;
    let mut cargo = toolchain.cargo()?;
    cargo
        .args(["build", "--locked", "--package", "profiler-ebpf", "--release", "--target", TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(&target)
        // A stable compiler builds `core` only when told that it knows what it does.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", sysroot::assemble(&toolchain.sysroot, &toolchain.library, &target.join("sysroot"))?)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain.linker)?);
    workspace::run(&mut cargo)?;
    read(&target.join(TARGET).join("release/blackout-probes"))
}

/// Compiler flags, joined as cargo wants them.
fn flags(linker: &Path) -> Result<String> {
    let linker = linker.to_str().context("the cache's path is not UTF-8: set BLACKOUT_CACHE to another")?;
    // v3 has the atomic add and the 32-bit jumps (Linux 5.12).
    Ok(["-Ctarget-cpu=v3", "--cfg=bpf_target_arch=\"x86_64\"", &format!("-Clinker={linker}")].join("\x1f"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn unavailable(error: &anyhow::Error) -> String {
    format!(
        "The eBPF object was NOT built again.\n\
         Its digest matches the sources, but the toolchain that built it cannot be had here:\n\n{error:#}"
    )
}

/// `text` in a box that is hard to overlook.
fn boxed(text: &str) -> String {
    let rule = "#".repeat(78);
    let lines: String = text.lines().map(|line| format!("# {line}\n")).collect();
    format!("{rule}\n{lines}{rule}")
}
