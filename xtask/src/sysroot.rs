//! A sysroot of our own: the toolchain's, with the sources of the standard library in the usual place.
//!
//! Cargo mixes the path of those sources into every symbol's hash, but relative to the sysroot
//! (`compute_metadata` in cargo's compilation_files.rs, 1.95). In a sysroot, they give the same object wherever
//! they are; and the user's own sysroot stays as it is.

use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where a sysroot has the sources of the standard library.
pub const LIBRARY: &str = "lib/rustlib/src/rust/library";

/// Calls the real compiler with the sysroot that it lies in.
const RUSTC: &str = "#!/bin/sh\nbin=${0%/*}\nexec \"$bin/real-rustc\" --sysroot \"${bin%/*}\" \"$@\"\n";

/// Makes the sysroot `at` anew from the sysroot `own` and the folder `library`; gives the compiler to call.
///
/// # Errors
/// When `own` cannot be read or `at` cannot be written.
pub fn assemble(own: &Path, library: &Path, at: &Path) -> Result<PathBuf> {
    if at.exists() {
        fs::remove_dir_all(at).with_context(|| format!("cannot remove {}", at.display()))?;
    }
    link_all(&own.join("lib"), &at.join("lib"), "rustlib")?;
    link_all(&own.join("lib/rustlib"), &at.join("lib/rustlib"), "src")?;
    link(library, &at.join(LIBRARY))?;
    link(&own.join("bin/rustc"), &at.join("bin/real-rustc"))?;
    let rustc = at.join("bin/rustc");
    fs::write(&rustc, RUSTC)
        .and_then(|()| fs::set_permissions(&rustc, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", rustc.display()))?;
    Ok(rustc)
}

/// Links everything in `from` into `to`, but for `except`.
fn link_all(from: &Path, to: &Path, except: &str) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        if entry.file_name() != except {
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn link(to: &Path, at: &Path) -> Result<()> {
    let dir = at.parent().unwrap_or(at);
    fs::create_dir_all(dir)
        .and_then(|()| symlink(to, at))
        .with_context(|| format!("cannot link {} to {}", at.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_called_with_its_sysroot() {
        let dir = tempfile::tempdir().unwrap();
        let (own, library, at) = (dir.path().join("own"), dir.path().join("src"), dir.path().join("new one"));
        for made in ["own/bin", "own/lib/rustlib/src/old", "own/lib/rustlib/target", "src"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        fs::write(library.join("Cargo.lock"), "").unwrap();
        fs::write(own.join("lib/librustc.so"), "").unwrap();
        symlink("/bin/echo", own.join("bin/rustc")).unwrap();
        // The second time over the first.
        assemble(&own, &library, &at).unwrap();
        let rustc = assemble(&own, &library, &at).unwrap();
        let output = toolbox::program::command(rustc).args(["-v", "a b"]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("--sysroot {} -v a b\n", at.display()));
        for there in ["lib/librustc.so", "lib/rustlib/target", "lib/rustlib/src/rust/library/Cargo.lock"] {
            assert!(at.join(there).exists(), "{there}");
        }
        assert!(!at.join("lib/rustlib/src/old").exists());
        assert!(own.join("lib/rustlib/src/old").exists() && library.join("Cargo.lock").exists());
    }
}
