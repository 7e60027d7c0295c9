//! Reading a vCPU's state out of KVM, and putting it back (Documentation/virt/kvm/api.rst).

use super::state::VcpuState;
use anyhow::{Context, Result, bail};
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr,
    kvm_msr_entry,
};
use kvm_ioctls::{Kvm, VcpuFd};
use std::io::Error;
use std::os::fd::AsRawFd;

/// Given by the TSC offset instead.
const MSR_TSC: u32 = 0x10;
/// `_IOW(0xae, 0xe1 and 0xe2, struct kvm_device_attr)`; kvm-ioctls has them for a vCPU on arm64 only.
const SET_DEVICE_ATTR: u32 = 0x4018_aee1;
const GET_DEVICE_ATTR: u32 = 0x4018_aee2;

/// Everything of a vCPU that does not run.
///
/// # Errors
/// Names the part that KVM would not give.
pub fn save(kvm: &Kvm, vcpu: &VcpuFd, loops: u64) -> Result<VcpuState> {
    Ok(VcpuState {
        loops,
        tsc_offset: tsc_offset(vcpu)?,
        cpuid: vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES).context("KVM_GET_CPUID2")?.as_slice().to_vec(),
        regs: vcpu.get_regs().context("KVM_GET_REGS")?,
        sregs: vcpu.get_sregs().context("KVM_GET_SREGS")?,
        xcrs: vcpu.get_xcrs().context("KVM_GET_XCRS")?,
        xsave: vcpu.get_xsave().context("KVM_GET_XSAVE")?,
        msrs: msrs(kvm, vcpu)?,
        lapic: vcpu.get_lapic().context("KVM_GET_LAPIC")?,
        events: vcpu.get_vcpu_events().context("KVM_GET_VCPU_EVENTS")?,
        debug: vcpu.get_debug_regs().context("KVM_GET_DEBUGREGS")?,
        mp_state: vcpu.get_mp_state().context("KVM_GET_MP_STATE")?,
    })
}

/// Puts a saved state into a new vCPU. The order matters: CPUID says which registers there are, the APIC base in
/// `sregs` comes before the APIC, the TSC's offset last.
///
/// # Errors
/// Names the part that KVM would not take.
pub fn restore(kvm: &Kvm, vcpu: &VcpuFd, state: &VcpuState) -> Result<()> {
    let cpuid = CpuId::from_entries(&state.cpuid).context("too many CPUID entries")?;
    vcpu.set_cpuid2(&cpuid).context("KVM_SET_CPUID2")?;
    vcpu.set_sregs(&state.sregs).context("KVM_SET_SREGS")?;
    vcpu.set_lapic(&state.lapic).context("KVM_SET_LAPIC")?;
    vcpu.set_xcrs(&state.xcrs).context("KVM_SET_XCRS")?;
    // SAFETY: KVM reads no more than the 4096 bytes of the structure unless the process has asked for a feature
    // with a larger area (arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM)), which this one does not.
    unsafe { vcpu.set_xsave(&state.xsave) }.context("KVM_SET_XSAVE")?;
    set_msrs(vcpu, &msrs(kvm, vcpu)?, &state.msrs)?;
    vcpu.set_vcpu_events(&state.events).context("KVM_SET_VCPU_EVENTS")?;
    vcpu.set_debug_regs(&state.debug).context("KVM_SET_DEBUGREGS")?;
    vcpu.set_mp_state(state.mp_state).context("KVM_SET_MP_STATE")?;
    vcpu.set_regs(&state.regs).context("KVM_SET_REGS")?;
    set_tsc_offset(vcpu, state.tsc_offset)
}

/// All registers of KVM's list that this vCPU has: some of them depend on CPUID.
fn msrs(kvm: &Kvm, vcpu: &VcpuFd) -> Result<Vec<kvm_msr_entry>> {
    let list = kvm.get_msr_index_list().context("KVM_GET_MSR_INDEX_LIST")?;
    let mut wanted: Vec<kvm_msr_entry> = list
        .as_slice()
        .iter()
        .filter(|index| **index != MSR_TSC)
        .map(|&index| kvm_msr_entry { index, ..Default::default() })
        .collect();
    let mut found = Vec::new();
    while !wanted.is_empty() {
        let mut batch = Msrs::from_entries(&wanted).context("too many registers")?;
        let read = vcpu.get_msrs(&mut batch).context("KVM_GET_MSRS")?;
        found.extend(batch.as_slice().iter().take(read));
        // It stopped at one that this vCPU does not have.
        wanted.drain(..wanted.len().min(read + 1));
    }
    Ok(found)
}

/// Writes the registers that are not as they should be. Most are: and some can only be read.
fn set_msrs(vcpu: &VcpuFd, found: &[kvm_msr_entry], wanted: &[kvm_msr_entry]) -> Result<()> {
    let differs =
        |msr: &&kvm_msr_entry| !found.iter().any(|other| (other.index, other.data) == (msr.index, msr.data));
    let changes: Vec<kvm_msr_entry> = wanted.iter().filter(differs).copied().collect();
    let batch = Msrs::from_entries(&changes).context("too many registers")?;
    let written = vcpu.set_msrs(&batch).context("KVM_SET_MSRS")?;
    if let Some(refused) = changes.get(written) {
        bail!("KVM_SET_MSRS: register {:#x} does not take {:#x}", refused.index, refused.data);
    }
    Ok(())
}

/// Guest TSC minus host TSC, ticks.
///
/// # Errors
/// When the kernel does not know the attribute (before 5.16).
pub fn tsc_offset(vcpu: &VcpuFd) -> Result<u64> {
    let mut offset = 0u64;
    tsc_attribute(vcpu, GET_DEVICE_ATTR, &raw mut offset).context("cannot read the vCPU's TSC offset")?;
    Ok(offset)
}

/// Sets guest TSC minus host TSC, ticks.
///
/// # Errors
/// When the kernel does not know the attribute (before 5.16).
pub fn set_tsc_offset(vcpu: &VcpuFd, mut offset: u64) -> Result<()> {
    tsc_attribute(vcpu, SET_DEVICE_ATTR, &raw mut offset).context("cannot set the vCPU's TSC offset")
}

fn tsc_attribute(vcpu: &VcpuFd, request: u32, offset: *mut u64) -> Result<(), Error> {
    let attribute = kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: offset.expose_provenance() as u64,
    };
    // SAFETY: the descriptor is a vCPU's, the kernel reads the attribute, and reads or writes the one word at its
    // address, which the caller has.
    let answer = unsafe { libc::ioctl(vcpu.as_raw_fd(), request as _, &raw const attribute) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
