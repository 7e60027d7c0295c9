//! The mailbox's memory: BAR 2 of QEMU's `ivshmem-plain` (docs/specs/ivshmem-spec.rst), mapped through sysfs.

use crate::mailbox::{MAGIC, MAILBOX_BYTES};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::Error;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{Ordering, fence};

const DEVICES: &str = "/sys/bus/pci/devices";
const VENDOR: &str = "0x1af4";
const DEVICE: &str = "0x1110";

/// The memory, mapped.
pub struct Memory {
    start: NonNull<u8>,
    length: usize,
}

impl Memory {
    /// Finds the device and maps its memory.
    ///
    /// # Errors
    /// When the machine has no such device, or it cannot be mapped.
    pub fn open() -> Result<Self> {
        let device = find().context("the machine has no ivshmem device to leave results in")?;
        let enable = device.join("enable");
        fs::write(&enable, "1").with_context(|| format!("cannot write {}", enable.display()))?;
        let path = device.join("resource2");
        let file = File::options().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let length = usize::try_from(MAILBOX_BYTES)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error()).with_context(|| format!("cannot map {}", path.display()));
        }
        Ok(Self { start: NonNull::new(start.cast()).context("mapped at address zero")?, length })
    }

    /// All of it.
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        // SAFETY: both are `length` bytes long, and the mapping is no memory of Rust's.
        unsafe { self.start.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), self.length) };
        bytes
    }

    /// Replaces the content. The first word is written last: a machine that is killed meanwhile leaves nothing,
    /// not half of it.
    ///
    /// # Errors
    /// When there is too much.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        ensure!(bytes.len() <= self.length, "{} bytes of results do not fit the mailbox", bytes.len());
        let (word, rest) = bytes.split_first_chunk().unwrap_or((MAGIC, &[]));
        let first = self.start.as_ptr().cast::<[u8; MAGIC.len()]>();
        // SAFETY: `bytes` fits the mapping, which is page-aligned and no memory of Rust's.
        unsafe {
            first.write_volatile([0; MAGIC.len()]);
            fence(Ordering::SeqCst);
            self.start.as_ptr().add(MAGIC.len()).copy_from_nonoverlapping(rest.as_ptr(), rest.len());
            fence(Ordering::SeqCst);
            first.write_volatile(*word);
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and no borrow of it is ever given out.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn find() -> Option<PathBuf> {
    let is = |device: &Path, file: &str, value: &str| {
        fs::read_to_string(device.join(file)).is_ok_and(|text| text.trim() == value)
    };
    let mut devices = fs::read_dir(DEVICES).ok()?.flatten().map(|entry| entry.path());
    devices.find(|device| is(device, "vendor", VENDOR) && is(device, "device", DEVICE))
}
