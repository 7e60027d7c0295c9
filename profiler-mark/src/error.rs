//! Why a mark was not made.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why a mark was not made; the I/O error is its source.
#[derive(Debug)]
pub enum MarkError {
    /// The tracefs is not mounted.
    NoTracefs,
    /// A file of tracefs cannot be used.
    File {
        /// What failed: `open`, `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name is empty.
    Name,
}

impl MarkError {
    /// Wraps an I/O error with the failed operation and its file.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTracefs => f.write_str(
                "tracefs is not mounted at /sys/kernel/tracing; run: mount -t tracefs tracefs /sys/kernel/tracing",
            ),
            Self::File { what, path, .. } => write!(f, "cannot {what} {}", path.display()),
            Self::Name => f.write_str("a mark needs a name with something printable in it"),
        }
    }
}

impl Error for MarkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::NoTracefs | Self::Name => None,
        }
    }
}
