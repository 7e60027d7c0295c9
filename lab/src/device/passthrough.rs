//! A device passed through: everything from the driver to the first interrupt, in order.

use super::iommufd::Iommufd;
use super::mmio::Mmio;
use super::pci::PciDevice;
use super::vfio::VfioDevice;
use anyhow::{Context, Result};
use std::os::fd::BorrowedFd;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

/// A PCI device that reaches a guest's memory, and whose registers and interrupt are at hand.
///
/// Dropped, it is closed: the kernel disables the device and takes its mappings away.
#[derive(Debug)]
pub struct Passthrough {
    /// Its registers: for a KVM memory slot.
    pub registers: Mmio,
    /// Signalled by its MSI: for an irqfd.
    pub msi: EventFd,
    /// Whether it could be reset.
    pub was_reset: bool,
    /// The open device.
    pub device: VfioDevice,
    /// Its address spaces.
    pub iommufd: Iommufd,
}

impl Passthrough {
    /// Opens the device at `address` and lets it reach the first `bytes` of the memfd `memory`, at the same
    /// addresses: what the guest calls physical is what it gives the device.
    ///
    /// # Errors
    /// Names the step and the device.
    pub fn open(address: &str, memory: BorrowedFd<'_>, bytes: u64) -> Result<Self> {
        Self::open_steps(address, memory, bytes).with_context(|| format!("PCI device {address}"))
    }

    fn open_steps(address: &str, memory: BorrowedFd<'_>, bytes: u64) -> Result<Self> {
        let pci = PciDevice::at(address)?;
        pci.give_to_vfio()?;
        let device = VfioDevice::open(&pci.vfio_node()?)?;
        let iommufd = Iommufd::open()?;
        device.bind(&iommufd)?;
        let ioas = iommufd.allocate()?;
        iommufd.map(ioas, memory, bytes, 0)?;
        device.attach(ioas)?;
        let was_reset = device.reset()?;
        device.enable_transfers()?;
        let registers = device.registers()?;
        let msi = EventFd::new(EFD_CLOEXEC)?;
        device.signal_msi(&msi)?;
        Ok(Self { registers, msi, was_reset, device, iommufd })
    }
}
