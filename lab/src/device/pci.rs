//! A PCI device as sysfs shows it, and the driver it is given.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::PathBuf;

const DEVICES: &str = "/sys/bus/pci/devices";
const PROBE: &str = "/sys/bus/pci/drivers_probe";
const DRIVER: &str = "vfio-pci";

/// A PCI device.
#[derive(Debug, Clone)]
pub struct PciDevice {
    address: String,
    folder: PathBuf,
}

impl PciDevice {
    /// The device at an address such as `0000:00:05.0`.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(address: &str) -> Result<Self> {
        let folder = PathBuf::from(DEVICES).join(address);
        ensure!(folder.exists(), "there is no PCI device {address}: {} does not exist", folder.display());
        Ok(Self { address: address.into(), folder })
    }

    /// Gives it to vfio-pci, taking it from any other driver.
    ///
    /// # Errors
    /// When no IOMMU stands before it, or when the kernel has no vfio-pci.
    pub fn give_to_vfio(&self) -> Result<()> {
        let address = &self.address;
        ensure!(
            self.folder.join("iommu_group").exists(),
            "it cannot be passed through: no IOMMU stands before it. The machine needs one \
             (`cargo lab --iommu intel`), and the kernel CONFIG_INTEL_IOMMU or CONFIG_AMD_IOMMU"
        );
        if self.driver().as_deref() == Some(DRIVER) {
            return Ok(());
        }
        self.write("driver_override", DRIVER)?;
        if self.driver().is_some() {
            self.write("driver/unbind", address)?;
        }
        fs::write(PROBE, address).with_context(|| format!("cannot write {address} to {PROBE}"))?;
        match self.driver() {
            Some(driver) if driver == DRIVER => Ok(()),
            Some(other) => bail!("{address} went to {other}, not to {DRIVER}"),
            None => bail!("{address} found no driver: the kernel needs CONFIG_VFIO_PCI"),
        }
    }

    /// Its node under `/dev/vfio/devices`.
    ///
    /// # Errors
    /// When vfio-pci does not have it, or the kernel no CONFIG_VFIO_DEVICE_CDEV.
    pub fn vfio_node(&self) -> Result<PathBuf> {
        let folder = self.folder.join("vfio-dev");
        let names = fs::read_dir(&folder).with_context(|| {
            format!("cannot read {}: {DRIVER} does not have the device", folder.display())
        })?;
        let name = names.flatten().map(|entry| entry.file_name()).next();
        let name = name.with_context(|| format!("{} is empty", folder.display()))?;
        let node = PathBuf::from("/dev/vfio/devices").join(name);
        ensure!(node.exists(), "{} does not exist: the kernel needs CONFIG_VFIO_DEVICE_CDEV", node.display());
        Ok(node)
    }

    fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.folder.join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
    }
}
