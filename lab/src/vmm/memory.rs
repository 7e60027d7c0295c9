//! Memory that outlives the kernel: a memfd, mapped. A guest's own, and what its vCPUs' state is put in.

use crate::guest::pattern::{Mismatch, Pattern};
use anyhow::{Context, Result, bail};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Bytes filled or compared at once: whole pages.
const CHUNK_BYTES: usize = 64 << 10;

/// A mapped memfd. The guest may write to it at any time: it is only ever copied from and to.
pub struct SharedMemory {
    file: File,
    map: GuestMemoryMmap,
    bytes: u64,
}

impl SharedMemory {
    /// A new memfd of `bytes` zeros.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(name: &str, bytes: u64) -> Result<Self> {
        let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC).context("cannot make a memfd")?);
        ftruncate(&file, bytes)
            .with_context(|| format!("cannot make the memfd `{name}` {bytes} bytes long"))?;
        Self::open(file)
    }

    /// All of a memfd.
    ///
    /// # Errors
    /// When it is empty or cannot be mapped.
    pub fn open(file: File) -> Result<Self> {
        let bytes = file.metadata().context("cannot look at a memfd")?.len();
        let second = file.try_clone().context("cannot duplicate a memfd")?;
        let range = (GuestAddress(0), usize::try_from(bytes)?, Some(FileOffset::new(second, 0)));
        let map = GuestMemoryMmap::from_ranges_with_files([range])
            .with_context(|| format!("cannot map a memfd of {bytes} bytes"))?;
        Ok(Self { file, map, bytes })
    }

    /// Length, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is mapped in this process.
    ///
    /// # Errors
    /// Never in practice: it is mapped from its first byte on.
    pub fn host_address(&self) -> Result<u64> {
        let region = self.map.iter().next().context("no memory is mapped")?;
        Ok(region.get_host_address(vm_memory::MemoryRegionAddress(0))?.addr() as u64)
    }

    /// Copies `bytes` to `address`.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.map
            .write_slice(bytes, GuestAddress(address))
            .with_context(|| format!("no memory for {} bytes at {address:#x}", bytes.len()))
    }

    /// Copies from `address` into `bytes`.
    ///
    /// # Errors
    /// When the memory ends before.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        let length = bytes.len();
        self.map
            .read_slice(bytes, GuestAddress(address))
            .with_context(|| format!("no memory for {length} bytes at {address:#x}"))
    }

    /// Writes one little-endian word.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn write_u64(&self, address: u64, value: u64) -> Result<()> {
        self.write(address, &value.to_le_bytes())
    }

    /// Fills everything from `start` on with the pattern of `seed`.
    ///
    /// # Errors
    /// When `start` is outside.
    pub fn fill(&self, seed: u64, start: u64) -> Result<()> {
        let pattern = Pattern::new(seed);
        let mut buffer = vec![0; CHUNK_BYTES];
        self.chunks(start).try_for_each(|(at, length)| {
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            pattern.fill((at - start) / super::layout::PAGE_BYTES, chunk);
            self.write(at, chunk)
        })
    }

    /// Compares everything from `start` on to the pattern of `seed`.
    ///
    /// # Errors
    /// Names the first byte that differs.
    pub fn check(&self, seed: u64, start: u64) -> Result<()> {
        let pattern = Pattern::new(seed);
        let mut buffer = vec![0; CHUNK_BYTES];
        self.chunks(start).try_for_each(|(at, length)| {
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            self.read(at, chunk)?;
            match pattern.mismatch((at - start) / super::layout::PAGE_BYTES, chunk) {
                None => Ok(()),
                Some(Mismatch { offset, found, expected }) => {
                    let at = start.saturating_add(offset);
                    bail!("the byte at {at:#x} of the guest's memory is {found:#04x}, not {expected:#04x}")
                }
            }
        })
    }

    /// Start and length of each piece from `start` on.
    fn chunks(&self, start: u64) -> impl Iterator<Item = (u64, usize)> + use<> {
        let end = self.bytes;
        (start..end).step_by(CHUNK_BYTES).map(move |at| (at, (end - at).min(CHUNK_BYTES as u64) as usize))
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_checked_to_its_last_byte() {
        let memory = SharedMemory::new("test", 200 << 10).unwrap();
        memory.fill(3, 8192).unwrap();
        memory.check(3, 8192).unwrap();
        assert!(memory.check(4, 8192).is_err());
        let last = memory.bytes() - 1;
        let mut byte = [0];
        memory.read(last, &mut byte).unwrap();
        memory.write(last, &[!byte[0]]).unwrap();
        let error = memory.check(3, 8192).unwrap_err().to_string();
        assert!(error.contains("at 0x31fff "), "{error}");
        assert!(memory.write(last, &[0, 0]).is_err());
    }
}
