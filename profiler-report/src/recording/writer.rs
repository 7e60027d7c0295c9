//! Writing a recording as it happens.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::codec::{self, EncodeError};
use super::frame::{Body, Frame, Side};
use super::reader::{self, ReadError};

/// Appends frames to a recording. A frame is in the file when [`Writer::write`] returns, and on the
/// disk when [`Writer::sync`] returns.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    /// Bytes of whole frames, header included.
    len: u64,
}

/// A recording that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system refused.
    #[error("cannot {doing} recording {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The frame has no encoding.
    #[error(transparent)]
    Frame(#[from] EncodeError),
    /// The file to append to is not a recording of this version.
    #[error("cannot append to {path}: {source}", path = path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Why it was refused.
        source: ReadError,
    },
}

impl Writer {
    /// Begins a recording in a new file that only its owner can read (mode 0600): it holds kernel
    /// addresses and command lines.
    ///
    /// # Errors
    /// [`WriteError::Io`]; also if the file exists, which is never overwritten.
    pub fn create(path: &Path) -> Result<Self, WriteError> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|source| io_error("create", path, source))?;
        let mut writer = Self { file, path: path.to_owned(), len: 0 };
        writer.put(&codec::encode_header())?;
        Ok(writer)
    }

    /// Continues an existing recording. If its tail is torn (the machine went down while a frame was
    /// written), the tail is cut off behind the last whole frame and a note says so.
    ///
    /// # Errors
    /// [`WriteError::Header`] if the file is not a recording this build understands (it is left as it
    /// is), [`WriteError::Io`] otherwise.
    pub fn append(path: &Path) -> Result<Self, WriteError> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .map_err(|source| io_error("open", path, source))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| io_error("read", path, source))?;
        reader::check_header(&bytes)
            .map_err(|source| WriteError::Header { path: path.to_owned(), source })?;
        let end = reader::walk(&bytes, |_, _| ());
        let mut writer = Self { file, path: path.to_owned(), len: end as u64 };
        if end < bytes.len() {
            writer.file.set_len(writer.len).map_err(|source| io_error("truncate", path, source))?;
            let text =
                format!("cut {} bytes of an unfinished frame off the recording's end", bytes.len() - end);
            // Only the earlier half can have been interrupted.
            writer.write(&Frame { side: Side::Outgoing, body: Body::Note { text }, blob: Vec::new() })?;
        }
        Ok(writer)
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// [`WriteError::Frame`] if it is too large, [`WriteError::Io`] if the disk is full or fails; the
    /// frames before stay readable, and writing may be tried again.
    pub fn write(&mut self, frame: &Frame) -> Result<(), WriteError> {
        let bytes = codec::encode_frame(frame)?;
        self.put(&bytes)
    }

    /// Brings everything written to the disk: to be called before the kexec.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.file.sync_all().map_err(|source| io_error("sync", &self.path, source))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Err(source) = self.file.write_all(bytes) {
            // Half a frame would hide every later one.
            let _ = self.file.set_len(self.len);
            return Err(io_error("write", &self.path, source));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> WriteError {
    WriteError::Io { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn note(text: &str) -> Frame {
        Frame { side: Side::Incoming, body: Body::Note { text: text.into() }, blob: vec![7; 3] }
    }

    #[test]
    fn a_new_file_is_private_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.blackout");
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&note("a")).unwrap();
        writer.sync().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = Writer::create(&path).unwrap_err().to_string();
        assert!(error.contains("run.blackout"), "{error}");
        assert_eq!(reader::read(&std::fs::read(&path).unwrap()).unwrap().frames, [note("a")]);
    }

    #[test]
    fn append_continues_a_whole_file_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        Writer::create(&path).unwrap().write(&note("a")).unwrap();
        let before = std::fs::read(&path).unwrap();
        Writer::append(&path).unwrap().write(&note("b")).unwrap();
        let after = std::fs::read(&path).unwrap();
        assert!(after.starts_with(&before));
        assert_eq!(reader::read(&after).unwrap().frames, [note("a"), note("b")]);
    }

    #[test]
    fn append_after_every_torn_tail_keeps_the_whole_frames_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&note("a")).unwrap();
        let whole = std::fs::read(&path).unwrap().len();
        writer.write(&note("torn")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in whole + 1..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            Writer::append(&path).unwrap().write(&note("b")).unwrap();
            let recording = reader::read(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(recording.damage, []);
            assert_eq!(recording.frames.len(), 3);
            assert_eq!((&recording.frames[0], &recording.frames[2]), (&note("a"), &note("b")));
            assert!(matches!(&recording.frames[1].body, Body::Note { text }
                if text.contains(&format!("cut {} bytes", cut - whole))));
        }
    }

    #[test]
    fn append_leaves_foreign_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::write(&path, "dear diary, nothing torn here").unwrap();
        assert!(matches!(Writer::append(&path), Err(WriteError::Header { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"dear diary, nothing torn here");
    }
}
