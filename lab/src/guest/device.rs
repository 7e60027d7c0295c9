//! The device without a virtual machine: this process uses it itself, before and after the live update.

use super::luo::Orchestrator;
use super::pattern::Pattern;
use crate::device::edu::{Edu, TRANSFER_BYTES};
use crate::device::passthrough::Passthrough;
use crate::plan::Fault;
use crate::result::DeviceResult;
use anyhow::{Context, Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// LUO session in which preserving is tried.
const SESSION: &str = "lab-device";
/// One page: the device reads its first half, and writes the second.
const BYTES: u64 = 2 * TRANSFER_BYTES as u64;
/// What the second side adds to, left by the process that restores for init to read.
const RESULT: &str = "/run/device.json";

/// Uses the device in the outgoing kernel, and gives it up.
///
/// # Errors
/// When it does not answer.
pub fn outgoing(address: &str, orchestrator: &Orchestrator) -> Result<DeviceResult> {
    let (interrupts, refused) = use_once(address, |device| preserve(device, orchestrator))?;
    Ok(DeviceResult {
        address: address.into(),
        preserve: refused.join("; "),
        dma_ok: false,
        irqs_before: interrupts,
        irqs_after: 0,
    })
}

/// Uses it in the incoming kernel; [`after`] gives what came of it.
///
/// # Errors
/// When it does not answer, or another process has it.
pub fn incoming(address: &str, fault: Option<Fault>) -> Result<()> {
    let memory = memory()?;
    // The planted fault: whoever comes first has it.
    let _other = (fault == Some(Fault::DeviceBusy))
        .then(|| Passthrough::open(address, memory.as_fd(), BYTES))
        .transpose()?;
    let (interrupts, ()) = use_once(address, |_| Ok(()))?;
    std::fs::write(RESULT, interrupts.to_string()).with_context(|| format!("cannot write {RESULT}"))
}

/// Interrupts that the restoring process took, if the device answered it.
pub fn after() -> Option<u64> {
    std::fs::read_to_string(RESULT).ok()?.parse().ok()
}

/// What the device reads and writes.
fn memory() -> Result<File> {
    let memory = File::from(memfd_create("device", MemfdFlags::CLOEXEC)?);
    memory.set_len(BYTES)?;
    Ok(memory)
}

/// Interrupts taken, and what `then` gave.
fn use_once<T>(address: &str, then: impl FnOnce(&Passthrough) -> Result<T>) -> Result<(u64, T)> {
    let memory = memory()?;
    let mut data = vec![0; TRANSFER_BYTES as usize];
    Pattern::new(0xed0).fill(0, &mut data);
    memory.write_all_at(&data, 0)?;
    let device = Passthrough::open(address, memory.as_fd(), BYTES)?;
    let edu = Edu::new(&device.registers, device.msi.as_fd())?;
    let interrupts = edu.copy(0, TRANSFER_BYTES).with_context(|| format!("PCI device {address}"))?;
    let mut copy = vec![0; data.len()];
    memory.read_exact_at(&mut copy, TRANSFER_BYTES.into())?;
    ensure!(copy == data, "PCI device {address} wrote something else than it read");
    Ok((interrupts, then(&device)?))
}

/// Asks LUO to preserve the device's two files, and gives what it said. A file that it takes is given up again:
/// Linux 7.3 takes neither, and how a preserved one is to be used afterwards is not yet decided.
///
/// # Errors
/// When a session cannot be created.
pub fn preserve(device: &Passthrough, orchestrator: &Orchestrator) -> Result<Vec<String>> {
    let session =
        orchestrator.create(SESSION).with_context(|| format!("cannot create session `{SESSION}`"))?;
    let files = [("vfio", device.device.as_fd()), ("iommufd", device.iommufd.as_fd())];
    let said = |(token, (name, file)): (u64, (&str, _))| match session.preserve(file, token) {
        Ok(()) => format!("{name} preserve taken, given up, closed and reopened"),
        Err(error) => format!("{name} preserve refused: {}, closed and reopened", errno(&error)),
    };
    Ok((0..).zip(files).map(said).collect())
}

/// The error's name where it is the one to be expected.
fn errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        // No handler knows this type of file (`luo_preserve_file`, kernel/liveupdate/luo_file.c, 7.3).
        Some(libc::ENOENT) => "ENOENT".into(),
        _ => error.to_string(),
    }
}
