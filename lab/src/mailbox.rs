//! Files in a machine's shared memory: how results leave a deterministic run.
//!
//! A folder shared over 9p answers when the host gets round to it, which the guest's clock would show. The mailbox
//! is memory that both kernels and the host have mapped (QEMU's `ivshmem-plain`): writing to it is no event.
//!
//! ```text
//! "LABMAIL1"  length of the index, 8 bytes, little-endian  the index as JSON  the files, one after the other
//! ```

use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// Size of the memory; a recording has some ten kilobytes, a trace of every boot function some megabytes.
pub const MAILBOX_BYTES: u64 = 32 << 20;
/// What its content begins with.
pub const MAGIC: &[u8; 8] = b"LABMAIL1";
const HEADER_BYTES: usize = 16;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Path relative to the shared folder it stands for.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

/// What the index says of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: String,
    length: usize,
}

/// A mailbox that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// The index is no index.
    #[error("the guest's mailbox has no readable index")]
    Index,
    /// A file goes beyond the end.
    #[error("the guest's mailbox ends inside `{0}`")]
    Torn(String),
    /// A path that leads elsewhere.
    #[error("the guest's mailbox holds a file for `{0}`, which is no path below a folder")]
    Path(String),
}

/// Content of a mailbox with these files.
pub fn pack(letters: &[Letter]) -> Vec<u8> {
    let entry = |letter: &Letter| Entry { path: letter.path.clone(), length: letter.bytes.len() };
    let index: Vec<Entry> = letters.iter().map(entry).collect();
    // Strings and numbers always have a JSON form.
    let index = serde_json::to_vec(&index).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&index);
    letters.iter().for_each(|letter| bytes.extend_from_slice(&letter.bytes));
    bytes
}

/// The files of a mailbox; none if nothing was ever put into it.
///
/// # Errors
/// When it is damaged, or a path leads out of the folder.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Letter>, MailboxError> {
    if !bytes.starts_with(MAGIC) {
        return Ok(Vec::new());
    }
    let index = || -> Option<(Vec<Entry>, &[u8])> {
        let length = u64::from_le_bytes(bytes.get(8..HEADER_BYTES)?.try_into().ok()?);
        let (index, files) = bytes.get(HEADER_BYTES..)?.split_at_checked(usize::try_from(length).ok()?)?;
        Some((serde_json::from_slice(index).ok()?, files))
    };
    let (index, mut rest) = index().ok_or(MailboxError::Index)?;
    let mut letters = Vec::new();
    for Entry { path, length } in index {
        let below = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !below {
            return Err(MailboxError::Path(path));
        }
        let Some((file, after)) = rest.split_at_checked(length) else {
            return Err(MailboxError::Torn(path));
        };
        letters.push(Letter { path, bytes: file.to_vec() });
        rest = after;
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letter(path: &str, bytes: &[u8]) -> Letter {
        Letter { path: path.into(), bytes: bytes.into() }
    }

    #[test]
    fn an_untouched_mailbox_is_empty() {
        assert_eq!(unpack(&[0; 64]), Ok(vec![]));
        assert_eq!(unpack(&[]), Ok(vec![]));
    }

    #[test]
    fn damage_and_paths_that_lead_out_are_refused() {
        let bytes = pack(&[letter("result.json", b"{}"), letter("state/a", b"12345")]);
        assert_eq!(unpack(&bytes[..bytes.len() - 1]), Err(MailboxError::Torn("state/a".into())));
        assert_eq!(unpack(&bytes[..20]), Err(MailboxError::Index));
        for path in ["/etc/x", "../x", "a/../../x", "", "."] {
            assert_eq!(unpack(&pack(&[letter(path, b"")])), Err(MailboxError::Path(path.into())));
        }
    }

    proptest! {
        #[test]
        fn files_read_back_with_anything_behind_them(
            files in proptest::collection::vec(
                ("[a-z]{1,9}(/[a-z]{1,9})?", proptest::collection::vec(any::<u8>(), 0..70)), 0..6),
            behind in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let letters: Vec<Letter> = files.iter().map(|(path, bytes)| letter(path, bytes)).collect();
            prop_assert_eq!(unpack(&[pack(&letters), behind].concat()), Ok(letters));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = unpack(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
