//! The passed-through device as part of a virtual machine: its registers in the guest's address space, its
//! interrupt in vCPU 0's APIC.

use super::driver::{self, ANEW, REGISTERS, VECTOR};
use super::layout::DEVICE_REGISTERS;
use super::memory::SharedMemory;
use crate::device::passthrough::Passthrough;
use anyhow::{Context, Result};
use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_msi, kvm_userspace_memory_region,
};
use kvm_ioctls::VmFd;
use std::os::fd::AsFd;

/// KVM's slot of memory for the registers; the guest's own memory is 0.
const SLOT: u32 = 1;
/// KVM's number for the interrupt: behind those of the I/O APIC's pins.
const GSI: u32 = 24;
/// Where a message-signalled interrupt for vCPU 0 goes.
const APIC_0: u32 = 0xfee0_0000;

/// A device that a virtual machine has.
pub struct GuestDevice {
    passthrough: Passthrough,
}

impl GuestDevice {
    /// Opens the device at `address` and gives it to a machine.
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn open(address: &str, vm: &VmFd, memory: &SharedMemory) -> Result<Self> {
        let passthrough = Passthrough::open(address, memory.as_fd(), memory.bytes())?;
        let device = Self { passthrough };
        device.map(vm, device.passthrough.registers.bytes())?;
        vm.set_gsi_routing(&routing()?).context("KVM_SET_GSI_ROUTING")?;
        vm.register_irqfd(&device.passthrough.msi, GSI).context("KVM_IRQFD")?;
        memory.write_u64(REGISTERS, DEVICE_REGISTERS)?;
        memory.write_u64(ANEW, 1)?;
        Ok(device)
    }

    /// Tells the guest that it has the device, new: it begins to use it.
    ///
    /// # Errors
    /// When KVM does not take the interrupt.
    pub fn announce(vm: &VmFd) -> Result<()> {
        let msi = kvm_msi { address_lo: APIC_0, data: VECTOR.into(), ..Default::default() };
        vm.signal_msi(msi).map(drop).context("KVM_SIGNAL_MSI")
    }

    /// Takes the device from the machine and closes it.
    ///
    /// # Errors
    /// When KVM does not let it go.
    pub fn close(self, vm: &VmFd) -> Result<()> {
        vm.unregister_irqfd(&self.passthrough.msi, GSI).context("KVM_IRQFD")?;
        self.map(vm, 0)
    }

    /// The open device, to be preserved.
    pub fn passthrough(&self) -> &Passthrough {
        &self.passthrough
    }

    fn map(&self, vm: &VmFd, bytes: u64) -> Result<()> {
        let region = kvm_userspace_memory_region {
            slot: SLOT,
            flags: 0,
            guest_phys_addr: DEVICE_REGISTERS,
            memory_size: bytes,
            userspace_addr: self.passthrough.registers.address(),
        };
        // SAFETY: the registers stay mapped until `close` has taken the slot away, or the machine ends with us.
        unsafe { vm.set_user_memory_region(region) }.context("KVM_SET_USER_MEMORY_REGION of the device")
    }
}

fn routing() -> Result<KvmIrqRouting> {
    let msi = kvm_irq_routing_msi { address_lo: APIC_0, data: VECTOR.into(), ..Default::default() };
    let entry = kvm_irq_routing_entry {
        gsi: GSI,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    };
    KvmIrqRouting::from_entries(&[entry]).context("no room for an interrupt route")
}

/// What the guest's driver has written down so far.
///
/// # Errors
/// When the guest's memory ends before it.
pub fn journal(memory: &SharedMemory) -> Result<driver::DriverJournal> {
    let mut bytes = [0; driver::BYTES];
    memory.read(super::layout::DEVICE, &mut bytes)?;
    Ok(driver::DriverJournal::decode(&bytes))
}
