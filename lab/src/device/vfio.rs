//! A device in user space's hands, through its VFIO character device (include/uapi/linux/vfio.h, Linux 7.3).

use super::ioctl::{call, number};
use super::iommufd::{Ioas, Iommufd};
use super::mmio::Mmio;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DEVICE_FLAGS_RESET, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_TYPE,
    vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_info, vfio_region_info,
};

// Numbers of the requests, counted from `VFIO_BASE`.
const GET_INFO: u32 = 7;
const GET_REGION_INFO: u32 = 8;
const SET_IRQS: u32 = 10;
const RESET: u32 = 11;
const BIND_IOMMUFD: u32 = 18;
const ATTACH_IOMMUFD_PT: u32 = 19;

/// `PCI_COMMAND` and its bit that lets a device begin transfers (include/uapi/linux/pci_regs.h).
const COMMAND: u64 = 4;
const BUS_MASTER: u16 = 1 << 2;

/// An open device; closing it gives it back to the kernel, disabled.
#[derive(Debug)]
pub struct VfioDevice(File);

/// `struct vfio_irq_set` with room for one event descriptor.
#[repr(C)]
struct OneIrq {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    event: i32,
}

impl VfioDevice {
    /// Opens its node.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(node: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(node);
        file.map(Self).with_context(|| format!("cannot open {}", node.display()))
    }

    /// Puts it under an [`Iommufd`]: only then may it be used.
    ///
    /// # Errors
    /// `EINVAL` when another process has it (`vfio_df_open`, drivers/vfio/vfio_main.c, 7.3); `EPERM` where
    /// interrupts are not remapped.
    pub fn bind(&self, iommufd: &Iommufd) -> Result<()> {
        let mut argument = vfio_device_bind_iommufd {
            // As far as every kernel with this request knows it.
            argsz: 16,
            iommufd: iommufd.as_fd().as_raw_fd(),
            ..Default::default()
        };
        match self.request(BIND_IOMMUFD, &mut argument).map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) => Ok(()),
            Err((Some(libc::EINVAL), error)) => {
                Err(error).context("the device is busy: another process has it (VFIO_DEVICE_BIND_IOMMUFD)")
            }
            Err((Some(libc::EPERM), error)) => {
                Err(error).context("the IOMMU does not remap interrupts (VFIO_DEVICE_BIND_IOMMUFD)")
            }
            Err((_, error)) => {
                Err(error).context("cannot put the device under /dev/iommu (VFIO_DEVICE_BIND_IOMMUFD)")
            }
        }
    }

    /// Makes its transfers go through an address space.
    ///
    /// # Errors
    /// Those of `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
    pub fn attach(&self, ioas: Ioas) -> Result<()> {
        let mut argument = vfio_device_attach_iommufd_pt {
            argsz: size_of::<vfio_device_attach_iommufd_pt>() as u32,
            pt_id: ioas.0,
            ..Default::default()
        };
        self.request(ATTACH_IOMMUFD_PT, &mut argument)
            .context("cannot attach the device to its address space (VFIO_DEVICE_ATTACH_IOMMUFD_PT)")
    }

    /// Resets it, if there is a way to. Whether there is.
    ///
    /// # Errors
    /// When the reset fails.
    pub fn reset(&self) -> Result<bool> {
        let mut info = vfio_device_info { argsz: size_of::<vfio_device_info>() as u32, ..Default::default() };
        self.request(GET_INFO, &mut info)
            .context("the device does not say what it is (VFIO_DEVICE_GET_INFO)")?;
        if info.flags & VFIO_DEVICE_FLAGS_RESET == 0 {
            return Ok(false);
        }
        self.request(RESET, &mut ()).context("cannot reset the device (VFIO_DEVICE_RESET)")?;
        Ok(true)
    }

    /// Lets it begin transfers.
    ///
    /// # Errors
    /// When its configuration space cannot be read or written.
    pub fn enable_transfers(&self) -> Result<()> {
        let at = self.region(VFIO_PCI_CONFIG_REGION_INDEX)?.offset + COMMAND;
        let mut command = [0; 2];
        self.0.read_exact_at(&mut command, at).context("cannot read the device's configuration space")?;
        let command = u16::from_le_bytes(command) | BUS_MASTER;
        self.0
            .write_all_at(&command.to_le_bytes(), at)
            .context("cannot write the device's configuration space")
    }

    /// Maps the registers of its first BAR.
    ///
    /// # Errors
    /// When it has none, or when they cannot be mapped.
    pub fn registers(&self) -> Result<Mmio> {
        let region = self.region(VFIO_PCI_BAR0_REGION_INDEX)?;
        if region.size == 0 {
            bail!("the device has no BAR 0");
        }
        Mmio::map(self.as_fd(), region.offset, region.size).context("cannot map the device's BAR 0")
    }

    /// Has its first MSI signalled to `event`.
    ///
    /// # Errors
    /// When it has no MSI, or no vector is left.
    pub fn signal_msi(&self, event: &impl AsRawFd) -> Result<()> {
        let mut argument = OneIrq {
            argsz: size_of::<OneIrq>() as u32,
            flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
            index: VFIO_PCI_MSI_IRQ_INDEX,
            start: 0,
            count: 1,
            event: event.as_raw_fd(),
        };
        self.request(SET_IRQS, &mut argument).context("cannot set up the device's MSI (VFIO_DEVICE_SET_IRQS)")
    }

    fn region(&self, index: u32) -> Result<vfio_region_info> {
        let mut argument =
            vfio_region_info { argsz: size_of::<vfio_region_info>() as u32, index, ..Default::default() };
        self.request(GET_REGION_INFO, &mut argument)
            .with_context(|| format!("the device has no region {index} (VFIO_DEVICE_GET_REGION_INFO)"))?;
        Ok(argument)
    }

    /// `T` is the request's argument, or `()` for none.
    fn request<T>(&self, request: u32, argument: &mut T) -> Result<(), Error> {
        // SAFETY: private, and every caller above passes its request's own type; none points to anything.
        unsafe { call(self.as_fd(), number(VFIO_TYPE, VFIO_BASE + request), argument) }
    }
}

impl AsFd for VfioDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
