//! Files of an ext4 disk image that nobody has mounted, by debugfs(8): no root, no loop device.

use crate::exec;
use crate::program::DEBUGFS;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Something to put onto a disk.
pub enum Put<'a> {
    /// A file, with the mode it has here.
    File(&'a Path, &'a str),
    /// A symbolic link: its place, and what it names.
    Link(&'a str, &'a str),
    /// A folder, whose parent is there.
    Folder(&'a str),
}

/// Puts things onto the disk, in order. It must be clean: nothing of it may wait in its journal.
///
/// # Errors
/// When debugfs cannot do it.
pub fn put(disk: &Path, things: &[Put]) -> Result<()> {
    let line = |thing: &Put| match thing {
        Put::File(from, to) => format!("rm {to}\nwrite {} {to}\n", from.display()),
        Put::Link(at, to) => format!("symlink {at} {to}\n"),
        Put::Folder(path) => format!("mkdir {path}\n"),
    };
    let commands: String = things.iter().map(line).collect();
    let script = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    fs::write(script.path(), commands)?;
    exec::output(DEBUGFS.command()?.arg("-w").arg("-f").arg(script.path()).arg(disk)).map(drop)
}

/// Copies the folder `from` of the disk into the folder `to` here. What waits in the journal is not seen.
///
/// # Errors
/// When debugfs cannot be run.
pub fn take(disk: &Path, from: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let command = format!("rdump {from} {}", to.display());
    exec::output(DEBUGFS.command()?.args(["-R", &command]).arg(disk)).map(drop)
}
