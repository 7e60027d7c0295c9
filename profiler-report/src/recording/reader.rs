//! Reading a recording: everything that is whole, and a list of what is not.

use super::codec::{self, HEADER_BYTES, HeaderFault, Slot};
use super::frame::{Body, Frame};

/// Most bytes a recording may decompress to; frames beyond are reported as damage.
pub(crate) const RECORDING_LIMIT_BYTES: usize = 2 << 30;

/// What was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// The whole frames, in the order they were written.
    pub frames: Vec<Frame>,
    /// What was lost; empty for a sound file.
    pub damage: Vec<Damage>,
}

/// A part of the file that gave no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins in the file, bytes.
    pub offset: usize,
    /// What is wrong, in words for a person.
    pub what: String,
}

/// The file gives nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another kind of file, or an empty one.
    #[error("not a blackout recording: the file does not begin with \"BLACKOUT\"")]
    NotARecording,
    /// Written by another version of the format.
    #[error(
        "recording has format version {found}, this blackout reads {supported}: use the blackout that wrote it"
    )]
    Version {
        /// Version in the file.
        found: u16,
        /// [`codec::VERSION`].
        supported: u16,
    },
    /// The header's own checksum is wrong.
    #[error("the recording's 16-byte header is damaged: nothing after it can be trusted")]
    Header,
}

impl Recording {
    /// How many frames a newer version wrote that this one does not know.
    pub fn unknown_frames(&self) -> usize {
        self.frames.iter().filter(|frame| frame.body == Body::Unknown).count()
    }
}

/// Reads a recording.
///
/// A frame with a wrong checksum is skipped if the frame its length points to is sound; otherwise
/// reading ends there. Every loss is in [`Recording::damage`].
///
/// # Errors
/// [`ReadError`] if the header is not one this build understands.
pub fn read(file: &[u8]) -> Result<Recording, ReadError> {
    check_header(file)?;
    let mut recording = Recording::default();
    let mut left_bytes = RECORDING_LIMIT_BYTES;
    let end = walk(file, |offset, payload| match payload {
        Ok(payload) => match codec::decode_payload(payload, left_bytes) {
            Ok((frame, bytes)) => {
                left_bytes = left_bytes.saturating_sub(bytes);
                recording.frames.push(frame);
            }
            Err(what) => recording.damage.push(Damage { offset, what }),
        },
        Err(what) => recording.damage.push(Damage { offset, what: what.to_owned() }),
    });
    if end < file.len() {
        let what = format!("the last {} bytes are not a whole frame", file.len() - end);
        recording.damage.push(Damage { offset: end, what });
    }
    Ok(recording)
}

pub(super) fn check_header(file: &[u8]) -> Result<(), ReadError> {
    codec::check_header(file).map_err(|fault| match fault {
        HeaderFault::Foreign => ReadError::NotARecording,
        HeaderFault::Version(found) => ReadError::Version { found, supported: codec::VERSION },
        HeaderFault::Damaged => ReadError::Header,
    })
}

/// Visits every frame after a good header; gives the offset where the readable part ends.
pub(super) fn walk<'a>(
    file: &'a [u8],
    mut visit: impl FnMut(usize, Result<&'a [u8], &'static str>),
) -> usize {
    let mut offset = HEADER_BYTES;
    loop {
        offset = match codec::slot(file, offset) {
            Slot::Whole { payload, end } => {
                visit(offset, Ok(payload));
                end
            }
            Slot::Corrupt { end } if matches!(codec::slot(file, end), Slot::Whole { .. }) => {
                visit(offset, Err("frame skipped: its checksum is wrong"));
                end
            }
            Slot::Corrupt { .. } | Slot::Torn | Slot::End => return offset,
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
