//! Files that are whole or absent: whoever reads one while it is written, or after a power cut, finds the old one or
//! the new one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A file that takes its name when it is done: until then it is hidden beside it.
pub struct Pending {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Pending {
    /// Begins it, with this mode.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = File::create(&temporary)?;
        let pending = Self { file, temporary, path: path.to_owned() };
        // Whatever the umask is: whom the file is for is known.
        pending.file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(pending)
    }

    /// To write into it.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its name, durably.
    ///
    /// # Errors
    /// The system's.
    pub fn done(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Gone already, if it is done.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Replaces a file's content.
///
/// # Errors
/// The system's.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut pending = Pending::create(path, mode)?;
    pending.file().write_all(content)?;
    pending.done()
}

/// Makes it durable that a file came into its folder, or went.
///
/// # Errors
/// The system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.prom");
        replace(&path, b"old", 0o644).unwrap();
        let mut pending = Pending::create(&path, 0o600).unwrap();
        pending.file().write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(pending);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        replace(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
