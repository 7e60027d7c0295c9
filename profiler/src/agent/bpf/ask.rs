//! Questions to the running kernel, through a program of ours that is run once for each.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use profiler_common::ask::{DATA_BYTES, Question};

use super::{BpfError, object::Object, sys};

/// What answers.
#[derive(Debug)]
pub struct Oracle {
    program: OwnedFd,
}

impl Oracle {
    /// Loads the program that answers.
    pub fn new(object: &Object) -> Result<Self, BpfError> {
        Ok(Self { program: object.load("ask", sys::Kind::Syscall)? })
    }

    /// Address of a symbol; `None` if the kernel has none of this name, or may not tell.
    pub fn address(&self, symbol: &str) -> Option<u64> {
        let mut question = Question::symbol(symbol)?;
        self.put(&mut question).ok()?;
        (question.address != 0).then_some(question.address)
    }

    /// The word at a kernel address; `None` if it cannot be read.
    pub fn word(&self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.memory(address)?.get(..8)?.try_into().ok()?))
    }

    /// What lies at a kernel address; `None` if not all of it can be read.
    pub fn memory(&self, address: u64) -> Option<[u8; DATA_BYTES]> {
        let mut question = Question::memory(address);
        self.put(&mut question).ok()?;
        Some(question.data)
    }

    /// Answers one question; the error is the program's own.
    fn put(&self, question: &mut Question) -> io::Result<()> {
        match sys::prog_run(self.program.as_fd(), question)? {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        }
    }
}
