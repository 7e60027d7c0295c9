//! What a committed eBPF object was built from, so that a stale one is noticed without a toolchain.

use crate::toolchain::{BPF_LINKER, RUSTC};
use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose files all go into the object, and single files.
const SOURCES: [&str; 4] =
    ["profiler-common/Cargo.toml", "profiler-common/src", "profiler-ebpf/Cargo.toml", "profiler-ebpf/src"];

/// The text of the digest file for this object and the sources of the checkout `root`.
///
/// # Errors
/// When a source cannot be read.
pub fn of(root: &Path, object: &[u8]) -> Result<String> {
    let sources = sources(root)?;
    let lock = read(&root.join("Cargo.lock"))?;
    let locked = locked(&String::from_utf8_lossy(&lock));
    Ok(format!(
        "# What blackout-probes.bpf.o was built from and with; written by `cargo xtask ebpf`.\n\
         rustc {RUSTC}\nbpf-linker {BPF_LINKER}\nsources {}\nobject {}\n",
        sources_sha256(&sources, &locked),
        hex(&Sha256::digest(object)),
    ))
}

/// The keys whose value differs between two digest files.
pub fn differing<'a>(committed: &'a str, now: &'a str) -> Vec<&'a str> {
    let entries = |text: &'a str| text.lines().filter_map(|line| line.split_once(' '));
    let known = |of: &'a str, key, value| entries(of).any(|entry| entry == (key, value));
    let mut keys: Vec<&str> = entries(now).filter(|(k, v)| !known(committed, k, v)).map(|(k, _)| k).collect();
    keys.extend(entries(committed).filter(|(k, v)| !known(now, k, v)).map(|(k, _)| k));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Path (relative to the checkout) and content of every source, ordered by path.
fn sources(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut open: Vec<PathBuf> = SOURCES.map(|path| root.join(path)).into();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for entry in entries {
                open.push(entry.with_context(|| format!("cannot read {}", path.display()))?.path());
            }
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push((name, read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Name, version and checksum lines of the aya-ebpf crates in a Cargo.lock.
fn locked(lock: &str) -> String {
    let packages = lock.split("[[package]]").filter(|package| package.contains("\nname = \"aya-ebpf"));
    let pinned =
        |line: &&str| ["name = ", "version = ", "checksum = "].iter().any(|key| line.starts_with(key));
    packages.flat_map(|package| package.lines().filter(pinned)).map(|line| format!("{line}\n")).collect()
}

fn sources_sha256(sources: &[(String, Vec<u8>)], locked: &str) -> String {
    let mut sha256 = Sha256::new();
    let locked = ("Cargo.lock", locked.as_bytes());
    let files = sources.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
    for (name, content) in files.chain([locked]) {
        // Lengths keep a byte that moves from one file to the next from going unnoticed.
        sha256.update(format!("{name}\0{}\0", content.len()));
        sha256.update(content);
    }
    hex(&sha256.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_source_is_noticed() {
        let file = |name: &str, content: &str| (name.to_owned(), content.as_bytes().to_vec());
        let before = sources_sha256(&[file("a", "x"), file("b", "yz")], "");
        for (sources, locked) in [
            (vec![file("a", "x"), file("b", "y")], ""),
            (vec![file("a", "xy"), file("b", "z")], ""),
            (vec![file("a", "x"), file("c", "yz")], ""),
            (vec![file("a", "x"), file("b", "yz")], "1"),
        ] {
            assert_ne!(sources_sha256(&sources, locked), before, "{sources:?} {locked}");
        }
    }

    #[test]
    fn only_the_crates_of_the_object_are_locked() {
        let lock = "version = 4\n\n[[package]]\nname = \"aya\"\nversion = \"1\"\n\n[[package]]\n\
            name = \"aya-ebpf-cty\"\nversion = \"0.3.0\"\nsource = \"s\"\nchecksum = \"c\"\n\
            dependencies = [\n \"aya-build\",\n]\n\n[[package]]\nname = \"zzz\"\nversion = \"2\"\n";
        assert_eq!(locked(lock), "name = \"aya-ebpf-cty\"\nversion = \"0.3.0\"\nchecksum = \"c\"\n");
    }

    #[test]
    fn differences_are_named() {
        assert_eq!(differing("# c\na 1\nb 2\n", "# c\na 1\nb 2\n"), [""; 0]);
        assert_eq!(differing("a 1\nb 2\n", "a 1\nb 3\nc 4\n"), ["b", "c"]);
        assert_eq!(differing("a 1\nb 2\n", "a 1\n"), ["b"]);
    }

    #[test]
    fn sources_are_found_in_order() {
        let root = crate::workspace::root().unwrap();
        let names: Vec<String> = sources(&root).unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.is_sorted());
        for name in ["profiler-common/src/record.rs", "profiler-ebpf/Cargo.toml", "profiler-ebpf/src/main.rs"]
        {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
    }
}
