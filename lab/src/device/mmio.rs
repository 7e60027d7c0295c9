//! A device's registers, mapped for a guest.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};

/// A mapped register region.
#[derive(Debug)]
pub struct Mmio {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: whoever has it may touch the registers; the device itself orders concurrent accesses.
unsafe impl Send for Mmio {}

impl Mmio {
    /// Maps `length` bytes at `offset` of a VFIO device's file.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(device: BorrowedFd<'_>, offset: u64, length: u64) -> Result<Self> {
        let out_of_range = |_| Error::from(std::io::ErrorKind::InvalidInput);
        let length = usize::try_from(length).map_err(out_of_range)?;
        let offset = libc::off_t::try_from(offset).map_err(out_of_range)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start =
            unsafe { libc::mmap(null_mut(), length, access, libc::MAP_SHARED, device.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::other("mapped at address zero"))?;
        Ok(Self { start, length })
    }

    /// Where it begins in this process: for a KVM memory slot.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Its length, bytes.
    pub fn bytes(&self) -> u64 {
        self.length as u64
    }
}

impl Drop for Mmio {
    fn drop(&mut self) {
        // SAFETY: ours alone, and no borrow of it outlives us.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
