//! Writing the `newc` archive the kernel unpacks as its initramfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
/// The kernel takes names up to `PATH_MAX` (init/initramfs.c, `do_header`).
const NAME_LIMIT: usize = 4096;

/// An archive being written. The same entries give the same bytes.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// An entry the format cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum CpioError {
    /// The name is too long.
    #[error("initramfs: the name {0:.40}... is longer than the kernel takes")]
    Name(String),
    /// The file is 4 GiB or larger.
    #[error("initramfs: {0} is too large for a cpio archive (4 GiB)")]
    Size(String),
}

impl Archive {
    /// Adds a directory; its parent must have been added before.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn directory(&mut self, path: &str) -> Result<(), CpioError> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file with the permission bits of `mode`.
    ///
    /// # Errors
    /// When the name is too long or the file too large.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<(), CpioError> {
        self.entry(path, FILE | (mode & 0o7777), data)
    }

    /// Adds a symbolic link to `target`.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), CpioError> {
        self.entry(path, SYMLINK | 0o777, target.as_bytes())
    }

    /// Ends the archive and gives its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.record("TRAILER!!!", 0, 0, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<(), CpioError> {
        let name = path.trim_start_matches('/');
        if name.len() >= NAME_LIMIT {
            return Err(CpioError::Name(name.into()));
        }
        let size = u32::try_from(data.len()).map_err(|_| CpioError::Size(path.into()))?;
        self.entries += 1;
        self.record(name, self.entries, mode, size, data);
        Ok(())
    }

    fn record(&mut self, name: &str, inode: u32, mode: u32, size: u32, data: &[u8]) {
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // The limit above keeps a name's length in 32 bits.
        let name_size = name.len() as u32 + 1;
        let (owner, group, time, device, check) = (0, 0, 0, [0; 4], 0);
        let [major, minor, special_major, special_minor] = device;
        let fields = [
            inode,
            mode,
            owner,
            group,
            links,
            time,
            size,
            major,
            minor,
            special_major,
            special_minor,
            name_size,
            check,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads an archive back: names, modes, contents.
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        loop {
            assert_eq!((&bytes[at..at + 6], at % 4), (b"070701".as_slice(), 0));
            let field = |index: usize| {
                let from = at + 6 + 8 * index;
                u32::from_str_radix(str::from_utf8(&bytes[from..from + 8]).unwrap(), 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            let data = (at + 110 + name_size).next_multiple_of(4);
            at = (data + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return entries;
            }
            entries.push((name, mode, bytes[data..data + size].to_vec()));
        }
    }

    #[test]
    fn kinds_have_their_modes() {
        let mut archive = Archive::default();
        archive.directory("bin").unwrap();
        archive.symlink("/bin/sh", "busybox").unwrap();
        archive.file("/init", 0o755, b"#!").unwrap();
        let expected = [
            ("bin".to_owned(), 0o040_755, vec![]),
            ("bin/sh".to_owned(), 0o120_777, b"busybox".to_vec()),
            ("init".to_owned(), 0o100_755, b"#!".to_vec()),
        ];
        assert_eq!(read(&archive.finish()), expected);
    }

    #[test]
    fn an_endless_name_is_refused() {
        assert!(Archive::default().directory(&"x".repeat(5000)).is_err());
    }

    proptest! {
        #[test]
        fn files_read_back(files in proptest::collection::vec(
            ("[a-z]{1,20}", 0_u32..0o1000, proptest::collection::vec(any::<u8>(), 0..70)), 0..8))
        {
            let mut archive = Archive::default();
            for (name, mode, data) in &files {
                archive.file(name, *mode, data).unwrap();
            }
            let expected: Vec<_> =
                files.into_iter().map(|(name, mode, data)| (name, mode | FILE, data)).collect();
            prop_assert_eq!(read(&archive.finish()), expected);
        }
    }
}
