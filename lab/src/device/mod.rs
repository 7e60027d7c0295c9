//! A PCI device in the hands of user space, as a virtual machine monitor takes it.
//!
//! ```text
//! ioctl        one ioctl
//! pci          sysfs: which driver a device has
//! iommufd      /dev/iommu: address spaces
//! mmio         mapped registers
//! vfio         /dev/vfio/devices: the device
//! passthrough  all of it in order, and back
//! edu          the registers of QEMU's edu device
//! ```
pub mod edu;
mod ioctl;
pub mod iommufd;
pub mod mmio;
pub mod passthrough;
pub mod pci;
pub mod vfio;
