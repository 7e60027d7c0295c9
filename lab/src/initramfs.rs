//! What both kernels boot into: init, the profiler, the plan and the workload. Not compressed: of an archive of
//! 8.6 MB, unpacking zstd costs the window more than the smaller image saves (2.12 against 1.89 billion ticks,
//! emulated with `-icount`).

use crate::cpio::Archive;
use crate::kernel::Kernel;
use crate::plan::{PLAN_FILE, Plan};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toolbox::binaries::Binaries;
use toolbox::exec;
use toolbox::program::{self, BPFTRACE, BUSYBOX, LDD};

/// Builds the initramfs, with a shell only if there is a `workload` folder that may want one.
///
/// # Errors
/// When a file cannot be read or does not fit the format.
pub fn build(
    binaries: &Binaries,
    plan: &Plan,
    workload: Option<&Path>,
    kernels: &[&Kernel],
) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "host", "proc", "run", "sys", "tmp"] {
        archive.directory(dir)?;
    }
    archive.file("init", 0o755, &read(&binaries.lab)?)?;
    archive.file("bin/blackout", 0o755, &read(&binaries.blackout)?)?;
    archive.file(PLAN_FILE, 0o644, &serde_json::to_vec(plan)?)?;
    let ranges: BTreeMap<String, PathBuf> = kernels
        .iter()
        .filter_map(|kernel| kernel.builtin_ranges())
        .map(|(file, name)| (name, file))
        .collect();
    for (name, file) in &ranges {
        add_parents(&mut archive, Path::new(name))?;
        archive.file(name, 0o644, &read(file)?)?;
    }
    if plan.observer.needs_bpftrace() {
        add_with_libraries(&mut archive, BPFTRACE.path()?)?;
    }
    if let Some(workload) = workload {
        add_busybox(&mut archive)?;
        for half in ["outgoing", "incoming"] {
            if !workload.join(half).is_file() {
                bail!("the workload {} has no program `{half}`", workload.display());
            }
        }
        add_tree(&mut archive, workload, "workload")?;
    }
    Ok(archive.finish())
}

/// Adds a dynamic program and everything it is linked with, each where it is on the host.
fn add_with_libraries(archive: &mut Archive, program: &Path) -> Result<()> {
    let libraries = exec::output(LDD.command()?.arg(program))?;
    // Lines such as `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x...)`, and the loader's without an arrow.
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in [program].into_iter().chain(libraries.map(Path::new)) {
        add_parents(archive, path)?;
        archive.file(&path.to_string_lossy(), 0o755, &read(path)?)?;
    }
    Ok(())
}

/// Adds the folders that a file is in. The kernel takes one that it has for no error (`do_name`, init/initramfs.c).
fn add_parents(archive: &mut Archive, file: &Path) -> Result<()> {
    let parents: Vec<_> = file.ancestors().skip(1).filter(|dir| dir.parent().is_some()).collect();
    for dir in parents.into_iter().rev() {
        archive.directory(&dir.to_string_lossy())?;
    }
    Ok(())
}

/// Adds a static busybox and its applets, if the system has one.
fn add_busybox(archive: &mut Archive) -> Result<()> {
    let Some(path) = BUSYBOX.find() else {
        return Ok(());
    };
    let program = read(path)?;
    // Debian's `busybox` package has a dynamic one, which cannot run in the guest.
    if interpreted(&program) != Some(false) {
        return Ok(());
    }
    archive.file("bin/busybox", 0o755, &program)?;
    for applet in exec::output(program::command(path).arg("--list"))?.lines() {
        if applet != "busybox" {
            archive.symlink(&format!("bin/{applet}"), "busybox")?;
        }
    }
    Ok(())
}

/// Whether a 64-bit ELF program asks for a dynamic loader (a `PT_INTERP` segment); `None` if it is no ELF file.
fn interpreted(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| Some(u16::from_le_bytes(elf.get(at..at.checked_add(2)?)?.try_into().ok()?));
    if elf.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

/// Adds `dir` and what is below it, in the order of its names.
fn add_tree(archive: &mut Archive, dir: &Path, name: &str) -> Result<()> {
    archive.directory(name)?;
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(leaf) = path.file_name().and_then(|leaf| leaf.to_str()) else {
            bail!("{} has a name that is not UTF-8", path.display());
        };
        let name = format!("{name}/{leaf}");
        let metadata = path.symlink_metadata().with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_symlink() {
            let target = fs::read_link(&path).with_context(|| format!("cannot read {}", path.display()))?;
            archive.symlink(&name, &target.to_string_lossy())?;
        } else if metadata.is_dir() {
            add_tree(archive, &path, &name)?;
        } else if metadata.is_file() {
            archive.file(&name, metadata.permissions().mode(), &read(&path)?)?;
        } else {
            bail!("{} is neither a file, a folder nor a link", path.display());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Workload;
    use proptest::prelude::*;

    fn plan() -> Plan {
        Plan::new(Workload::Custom)
    }

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        // A shared test program of cargo's is dynamic, a header with no segments is not.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut empty = vec![0; 64];
        empty[..5].copy_from_slice(b"\x7fELF\x02");
        assert_eq!((interpreted(&own), interpreted(&empty)), (Some(true), Some(false)));
        assert_eq!((interpreted(b"#!/bin/sh"), interpreted(&own[..60])), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_may_pose_as_a_program(mut bytes in proptest::collection::vec(any::<u8>(), 5..200)) {
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            prop_assert!(bytes.len() >= 58 || interpreted(&bytes).is_none());
        }
    }

    #[test]
    fn a_workload_needs_both_halves() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("program"), "x").unwrap();
        fs::write(dir.path().join("outgoing"), "x").unwrap();
        let program = dir.path().join("program");
        let binaries = Binaries { lab: program.clone(), blackout: program };
        let error = build(&binaries, &plan(), Some(dir.path()), &[]).unwrap_err().to_string();
        assert!(error.contains("`incoming`"), "{error}");
        fs::write(dir.path().join("incoming"), "y").unwrap();
        let bytes = build(&binaries, &plan(), Some(dir.path()), &[]).unwrap();
        let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
        assert!(has(b"\0\0workload/incoming\0") || has(b"workload/incoming\0"));
        assert!(has(b"lab.json\0") && has(b"bin/blackout\0"));
    }
}
