//! A file in memory, to look at every byte of it without a copy: under emulation the kernel's copy to
//! user space takes several times as long as the look.

use std::fs::File;
use std::io::{Error, Result};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};

/// A whole file, mapped for reading. Nobody may change or truncate the file meanwhile.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`.
    ///
    /// # Safety
    /// The file must have at least `length` bytes, and neither its size nor its content may change while
    /// the mapping lives.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub unsafe fn new(file: &File, length: usize) -> Result<Self> {
        if length == 0 {
            return Ok(Mapping { start: NonNull::dangling(), length });
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mapped at address zero"))?;
        Ok(Mapping { start, length })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped readable for this length, or dangling and empty; unchanged, says who made it.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: ours alone, and no borrow of it outlives us.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}
