//! The folder `/host`: what the host sees of it, and when.

use super::mailbox::Memory;
use super::mounts;
use crate::mailbox::{self, Letter};
use crate::plan::Plan;
use crate::result::RESULT_FILE;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// How files of [`mounts::HOST`] reach the host, and the other kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// It is a folder of the host's: at once.
    Share,
    /// It is in memory, and a copy is put into the mailbox: when published.
    Mailbox,
}

impl Exchange {
    /// The way of this run.
    pub fn of(plan: &Plan) -> Self {
        if plan.deterministic { Self::Mailbox } else { Self::Share }
    }

    /// Makes the folder. What the other kernel published is there only after [`Exchange::fetch`].
    ///
    /// # Errors
    /// When a share cannot be mounted.
    pub fn open(self) -> Result<()> {
        match self {
            Self::Share => mounts::share(),
            Self::Mailbox => Ok(()),
        }
    }

    /// Brings the other kernel's result here, unless it is here.
    ///
    /// # Errors
    /// When the mailbox is not there or damaged.
    pub fn fetch(self) -> Result<()> {
        if self == Self::Share {
            return Ok(());
        }
        let letters = mailbox::unpack(&Memory::open()?.read())?;
        match letters.iter().find(|letter| letter.path == RESULT_FILE) {
            Some(letter) => write(&Path::new(mounts::HOST).join(RESULT_FILE), &letter.bytes),
            None => Ok(()),
        }
    }

    /// Shows the host the result and all recordings as they are now.
    ///
    /// # Errors
    /// When a file cannot be read, or the mailbox is not there or too small.
    pub fn publish(self) -> Result<()> {
        if self == Self::Share {
            return Ok(());
        }
        let host = Path::new(mounts::HOST);
        let recordings = fs::read_dir(host.join("state")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = recordings.map(|entry| entry.path()).collect();
        paths.sort();
        paths.push(host.join(RESULT_FILE));
        let letter = |path: std::path::PathBuf| -> Result<Letter> {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(host).unwrap_or(&path).to_string_lossy().into_owned();
            Ok(Letter { path: name, bytes })
        };
        let letters: Vec<Letter> = paths.into_iter().map(letter).collect::<Result<_>>()?;
        Memory::open()?.write(&mailbox::pack(&letters))
    }

    /// Writes everything back and takes the folder down.
    pub fn close(self) {
        if self == Self::Share {
            mounts::drop_share();
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
