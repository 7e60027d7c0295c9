//! `/dev/iommu`: an address space for devices (include/uapi/linux/iommufd.h, Linux 7.3).

use super::ioctl::{call, number};
use anyhow::{Context, Result};
use iommufd_bindings::iommufd::{
    IOMMUFD_CMD_IOAS_ALLOC, IOMMUFD_CMD_IOAS_MAP_FILE, IOMMUFD_TYPE, iommu_ioas_alloc, iommu_ioas_map_file,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED_IOVA,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITEABLE,
};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const DEVICE: &str = "/dev/iommu";

/// An open `/dev/iommu`: what is made with it ends when it is closed.
#[derive(Debug)]
pub struct Iommufd(File);

/// An I/O address space of an [`Iommufd`].
#[derive(Debug, Clone, Copy)]
pub struct Ioas(pub u32);

impl Iommufd {
    /// Opens it.
    ///
    /// # Errors
    /// When the kernel has none.
    pub fn open() -> Result<Self> {
        let file = File::options().read(true).write(true).open(DEVICE);
        file.map(Self).with_context(|| format!("cannot open {DEVICE}: the kernel needs CONFIG_IOMMUFD"))
    }

    /// Makes an empty address space.
    ///
    /// # Errors
    /// Those of `IOMMU_IOAS_ALLOC`.
    pub fn allocate(&self) -> Result<Ioas> {
        let mut argument = iommu_ioas_alloc { size: size::<iommu_ioas_alloc>(), ..Default::default() };
        // SAFETY: the command takes this type, which points to nothing.
        unsafe { call(self.as_fd(), number(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOC), &mut argument) }
            .context("cannot make an I/O address space (IOMMU_IOAS_ALLOC)")?;
        Ok(Ioas(argument.out_ioas_id))
    }

    /// Maps the first `bytes` of a memfd at `iova`. By file, not by address: only such a mapping can outlive
    /// the process.
    ///
    /// # Errors
    /// Those of `IOMMU_IOAS_MAP_FILE`: `EINVAL` where the device cannot reach `iova`, `ENOTTY` before
    /// Linux 6.13.
    pub fn map(&self, ioas: Ioas, memory: BorrowedFd<'_>, bytes: u64, iova: u64) -> Result<()> {
        let mut argument = iommu_ioas_map_file {
            size: size::<iommu_ioas_map_file>(),
            flags: FIXED_IOVA | READABLE | WRITEABLE,
            ioas_id: ioas.0,
            fd: memory.as_raw_fd(),
            start: 0,
            length: bytes,
            iova,
        };
        // SAFETY: the command takes this type; the kernel keeps its own reference to the file.
        unsafe { call(self.as_fd(), number(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP_FILE), &mut argument) }
            .with_context(|| format!("cannot map {bytes} bytes at {iova:#x} (IOMMU_IOAS_MAP_FILE)"))
    }
}

impl AsFd for Iommufd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn size<T>() -> u32 {
    size_of::<T>() as u32
}
