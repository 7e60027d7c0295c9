//! Where the checkout is, and running programs in it.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use toolbox::program;

/// The checkout this program was built from.
///
/// # Errors
/// When it is gone.
pub fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().context("xtask works on the checkout it was built from, which is gone")
}

/// Where builds of a kind of their own go, beside the user's: `NAME` in cargo's target folder.
///
/// # Errors
/// When the checkout is gone.
pub fn target(name: &str) -> Result<PathBuf> {
    // A relative CARGO_TARGET_DIR is relative to where cargo was called, which is where we still are.
    let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => env::current_dir().context("cannot tell the current folder")?.join(dir),
        None => root()?.join("target"),
    };
    Ok(target.join(name))
}

/// The cargo that runs us, in the checkout.
///
/// # Errors
/// When the checkout is gone.
pub fn cargo() -> Result<Command> {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The program `name`, in the checkout, without the variables that cargo sets for us alone: some build scripts look at
/// them and would build again for nothing.
///
/// # Errors
/// When the checkout is gone.
pub fn command(name: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    in_checkout(program::command(name))
}

/// `command`, likewise.
///
/// # Errors
/// When the checkout is gone.
pub fn in_checkout(mut command: Command) -> Result<Command> {
    command.current_dir(root()?).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Shows `command` and runs it; its output is the caller's to read.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The command as one would type it, near enough.
pub fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named() {
        let error = run(program::command("/bin/sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.starts_with("sh -c exit 3: ") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().unwrap().join("Cargo.lock").is_file());
    }
}
