//! Looking at a host, doing what was planned for it, and undoing exactly that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::{self, GRUB_DIR, Host, KERNEL_CMDLINE, Step};

/// What was done, below the root.
const JOURNAL: &str = "var/lib/blackout/setup.json";

/// A setup that cannot be done, or undone.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SetupError {
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not what `blackout setup` wrote; it tells what to undo", path.display())]
    Journal { path: PathBuf, source: serde_json::Error },
    #[error("`{command}` failed: {why}; what was written so far stays, `blackout setup --undo` removes it")]
    Command { command: String, why: String },
}

/// One thing that was done. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    /// A file was written: its digest, and what was there before.
    Wrote { path: String, sha256: String, before: Option<String> },
    /// A link was made to this target.
    Linked { path: String, target: String },
    /// Another program took note.
    Ran { argv: Vec<String> },
}

/// What became of an undo.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Removed, or as it was before.
    pub undone: Vec<String>,
    /// Changed by somebody since, and left alone.
    pub left: Vec<String>,
}

/// Looks at the host below `root`.
///
/// # Errors
/// When the kernel's command line cannot be read.
pub fn look(root: &Path) -> Result<Host, SetupError> {
    let exists = |path: &str| root.join(path).symlink_metadata().is_ok();
    let program = |name: &str| {
        ["usr/bin", "usr/sbin", "sbin", "bin"].iter().any(|dir| exists(&format!("{dir}/{name}")))
    };
    let grub = exists(GRUB_DIR) || exists("etc/default/grub");
    let cmdline = read(Path::new("/proc/cmdline"))?.unwrap_or_default();
    let kernel_install = (!grub && program("kernel-install"))
        .then(|| read(&root.join(KERNEL_CMDLINE)))
        .transpose()?
        .map(|line| line.unwrap_or_else(|| own_words(&cmdline)));
    Ok(Host {
        kernel_install,
        cmdline,
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        grub,
        systemd: exists("usr/lib/systemd/systemd"),
        initramfs_tools: exists("usr/share/initramfs-tools"),
        dracut: exists("usr/lib/dracut"),
        present: plan::paths().filter(|path| exists(path)).collect(),
    })
}

/// The running kernel's line, for want of a file: without what its boot loader added.
fn own_words(cmdline: &str) -> String {
    let added = |word: &&str| word.starts_with("BOOT_IMAGE=") || word.starts_with("initrd=");
    cmdline.split_whitespace().filter(|word| !added(word)).collect::<Vec<_>>().join(" ")
}

/// Does `steps` below `root`, and notes each before the next. Programs run only on the host itself.
///
/// # Errors
/// At the first step that fails; what was done before is noted.
pub fn apply(root: &Path, steps: &[Step]) -> Result<(), SetupError> {
    let mut journal = read_journal(root)?;
    for step in steps {
        // Noted first: what a power cut leaves half done can be undone too.
        journal.push(done(root, step)?);
        write_journal(root, &journal)?;
        match step {
            Step::Write { path, content, mode } => put(&root.join(path), content.as_bytes(), *mode)?,
            Step::Install { path } => put(&root.join(path), &own_program()?, 0o755)?,
            Step::Link { path, target } => {
                let full = root.join(path);
                make_parent(&full)?;
                symlink(target, &full).map_err(file("link", &full))?;
            }
            Step::Run { argv } => run(root, argv)?,
        }
    }
    Ok(())
}

/// What the journal is to say of a step.
fn done(root: &Path, step: &Step) -> Result<Done, SetupError> {
    let wrote = |path: &str, content: &[u8]| {
        let before = read(&root.join(path))?;
        Ok(Done::Wrote { path: path.to_owned(), sha256: digest(content), before })
    };
    match step {
        Step::Write { path, content, .. } => wrote(path, content.as_bytes()),
        Step::Install { path } => wrote(path, &own_program()?),
        Step::Link { path, target } => Ok(Done::Linked { path: path.clone(), target: target.clone() }),
        Step::Run { argv } => Ok(Done::Ran { argv: argv.clone() }),
    }
}

fn own_program() -> Result<Vec<u8>, SetupError> {
    let path = Path::new("/proc/self/exe");
    fs::read(path).map_err(file("read", path))
}

/// Undoes everything that was done below `root`, the last first. What somebody has changed since is left alone.
///
/// # Errors
/// When a file cannot be removed, or a program fails.
pub fn undo(root: &Path) -> Result<Undone, SetupError> {
    let mut result = Undone::default();
    let mut programs = Vec::new();
    for done in read_journal(root)?.into_iter().rev() {
        let (path, ours, before) = match done {
            Done::Wrote { path, sha256, before } => {
                let now = fs::read(root.join(&path)).ok();
                (path, now.is_none_or(|bytes| digest(&bytes) == sha256), before)
            }
            Done::Linked { path, target } => {
                let now = fs::read_link(root.join(&path)).ok();
                (path, now.is_none_or(|now| now == Path::new(&target)), None)
            }
            Done::Ran { argv } => {
                programs.push(argv);
                continue;
            }
        };
        if !ours {
            result.left.push(path);
            continue;
        }
        let full = root.join(&path);
        match before {
            Some(text) => put(&full, text.as_bytes(), 0o644)?,
            None => match fs::remove_file(&full) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file("remove", &full)(error));
                }
                _ => {}
            },
        }
        result.undone.push(path);
    }
    let journal = root.join(JOURNAL);
    if journal.exists() {
        fs::remove_file(&journal).map_err(file("remove", &journal))?;
    }
    programs.reverse();
    programs.iter().try_for_each(|argv| run(root, argv))?;
    Ok(result)
}

/// Through a temporary file, so that a reader, or a power cut, finds the old or the new one.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), SetupError> {
    make_parent(path)?;
    let temporary = path.with_extension("blackout-new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary);
    let written = written.and_then(|mut open: File| open.write_all(content).and_then(|()| open.sync_all()));
    written.and_then(|()| fs::rename(&temporary, path)).map_err(file("write", path))
}

fn make_parent(path: &Path) -> Result<(), SetupError> {
    match path.parent() {
        Some(dir) => fs::create_dir_all(dir).map_err(file("create", dir)),
        None => Ok(()),
    }
}

/// Only on the host itself: what a root below a folder needs to be told, it is told when it boots.
fn run(root: &Path, argv: &[String]) -> Result<(), SetupError> {
    let Some((program, arguments)) = argv.split_first().filter(|_| root == Path::new("/")) else {
        return Ok(());
    };
    let failed = |why: String| SetupError::Command { command: argv.join(" "), why };
    let output = Command::new(program).args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.lines().last().unwrap_or_default())))
}

fn read_journal(root: &Path) -> Result<Vec<Done>, SetupError> {
    let path = root.join(JOURNAL);
    match read(&path)? {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(&text).map_err(|source| SetupError::Journal { path, source }),
    }
}

fn write_journal(root: &Path, journal: &[Done]) -> Result<(), SetupError> {
    let path = root.join(JOURNAL);
    let text = serde_json::to_vec_pretty(journal);
    let text = text.map_err(|source| SetupError::Journal { path: path.clone(), source })?;
    put(&path, &text, 0o600)
}

/// A text file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, SetupError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("read", path)(error)),
    }
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetupError {
    let path = path.to_owned();
    move |source| SetupError::File { what, path, source }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    use super::*;

    /// Every file below `dir` with its content, or its target.
    fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                let kind = path.symlink_metadata().unwrap().file_type();
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_symlink() {
                    found.insert(
                        path.clone(),
                        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
                    );
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            make_parent(&path).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn undo_leaves_what_was_there_before() {
        let root = host(&[
            ("usr/lib/systemd/systemd", ""),
            ("usr/bin/kernel-install", ""),
            ("etc/kernel/cmdline", "root=/dev/sda1 quiet\n"),
            ("usr/share/initramfs-tools/hook-functions", ""),
        ]);
        let before = tree(root.path());
        let steps = plan::plan(&look(root.path()).unwrap());
        apply(root.path(), &steps).unwrap();
        let line = fs::read_to_string(root.path().join("etc/kernel/cmdline")).unwrap();
        assert!(line.starts_with("root=/dev/sda1 quiet kho=on "), "{line}");
        let program = root.path().join("usr/bin/blackout").metadata().unwrap();
        assert_eq!(program.permissions().mode() & 0o777, 0o755);
        let again = plan::plan(&look(root.path()).unwrap());
        assert_eq!(again, [], "set up, and still something to do");

        let undone = undo(root.path()).unwrap();
        assert_eq!(undone.left, Vec::<String>::new());
        assert_eq!(tree(root.path()), before);
        assert_eq!(undo(root.path()).unwrap(), Undone::default());
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone() {
        let root = host(&[("usr/lib/systemd/systemd", ""), ("etc/default/grub", "")]);
        apply(root.path(), &plan::plan(&look(root.path()).unwrap())).unwrap();
        let settings = root.path().join("etc/default/blackout");
        fs::write(&settings, "KEEP=7\n").unwrap();
        let link = "etc/systemd/system/kexec.target.wants/blackout-arm.service";
        fs::remove_file(root.path().join(link)).unwrap();
        symlink("/dev/null", root.path().join(link)).unwrap();
        let undone = undo(root.path()).unwrap();
        assert_eq!(undone.left, [link, "etc/default/blackout"]);
        assert_eq!(fs::read_to_string(settings).unwrap(), "KEEP=7\n");
        assert!(!root.path().join("etc/default/grub.d/blackout.cfg").exists());
    }
}
