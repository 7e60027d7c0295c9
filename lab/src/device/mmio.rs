//! A device's registers in memory.

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
    pub fn len(&self) -> u64 {
        self.length as u64
    }

    /// Whether it has no register.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads a 32-bit register; all ones where there is none, as a PCI read gives that nobody answers.
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: inside the mapping and aligned, says `register`.
        self.register(offset).map_or(u32::MAX, |register| unsafe { register.read_volatile() })
    }

    /// Writes a 32-bit register; nothing where there is none.
    pub fn write(&self, offset: usize, value: u32) {
        if let Some(register) = self.register(offset) {
            // SAFETY: inside the mapping and aligned, says `register`.
            unsafe { register.write_volatile(value) };
        }
    }

    fn register(&self, offset: usize) -> Option<*mut u32> {
        let inside = offset.checked_add(4)? <= self.length && offset.is_multiple_of(4);
        // SAFETY: inside the mapping.
        inside.then(|| unsafe { self.start.as_ptr().add(offset) }.cast())
    }
}

impl Drop for Mmio {
    fn drop(&mut self) {
        // SAFETY: ours alone, and no borrow of it outlives us.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
