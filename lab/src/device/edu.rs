//! QEMU's edu device (docs/specs/edu in QEMU's own documentation): registers in BAR 0, a DMA engine with a
//! buffer of one page, an MSI. A transfer takes it 100 ms.

use super::mmio::Mmio;
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd};

/// Identification: version 1.0 of the device.
pub const ID: usize = 0x00;
/// Gives back the complement of what was written.
pub const LIVENESS: usize = 0x04;
/// Which interrupts it has raised.
pub const RAISED: usize = 0x24;
/// Takes back the interrupts written to it.
pub const ACKNOWLEDGE: usize = 0x64;
/// Where a transfer reads.
pub const SOURCE: usize = 0x80;
/// Where it writes.
pub const DESTINATION: usize = 0x88;
/// Its length, bytes.
pub const COUNT: usize = 0x90;
/// What it is to do: the `COMMAND_*` below.
pub const COMMAND: usize = 0x98;
/// Begin a transfer, from memory to the device's buffer unless [`COMMAND_TO_MEMORY`] says otherwise.
pub const COMMAND_START: u32 = 1;
/// From the device's buffer to memory.
pub const COMMAND_TO_MEMORY: u32 = 2;
/// Raise an interrupt at its end.
pub const COMMAND_INTERRUPT: u32 = 4;
/// The device's own address of its buffer.
pub const BUFFER: u32 = 0x40000;
/// Bytes of one transfer: half of the buffer, for QEMU 7.2 takes a transfer up to its very end for one beyond it.
pub const TRANSFER_BYTES: u32 = 2048;
/// The device reaches addresses below this (its `dma_mask`).
pub const REACH_BYTES: u64 = 1 << 28;

const IDENTITY: u32 = 0x0100_00ed;
/// How long a transfer may take before the device counts as dead.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The device, used by this process.
pub struct Edu<'a> {
    registers: &'a Mmio,
    msi: BorrowedFd<'a>,
}

impl<'a> Edu<'a> {
    /// The device behind these registers, whose MSI signals `msi`.
    ///
    /// # Errors
    /// When it is another device, or does not answer.
    pub fn new(registers: &'a Mmio, msi: BorrowedFd<'a>) -> Result<Self> {
        let identity = registers.read(ID);
        ensure!(identity == IDENTITY, "not QEMU's edu device: its identification is {identity:#010x}");
        let word = 0x1234_5678;
        registers.write(LIVENESS, word);
        let answer = registers.read(LIVENESS);
        ensure!(answer == !word, "the device answers {answer:#010x}, not {:#010x}", !word);
        Ok(Self { registers, msi })
    }

    /// Has the device copy [`TRANSFER_BYTES`] from one address of its address space to another, by way of its own
    /// buffer. Gives the interrupts it took.
    ///
    /// # Errors
    /// When a transfer's interrupt does not come.
    pub fn copy(&self, from: u32, to: u32) -> Result<u64> {
        let there = self.transfer(from, BUFFER, 0)?;
        Ok(there + self.transfer(BUFFER, to, COMMAND_TO_MEMORY)?)
    }

    fn transfer(&self, from: u32, to: u32, direction: u32) -> Result<u64> {
        self.registers.write(SOURCE, from);
        self.registers.write(DESTINATION, to);
        self.registers.write(COUNT, TRANSFER_BYTES);
        self.registers.write(COMMAND, COMMAND_START | COMMAND_INTERRUPT | direction);
        let interrupts = self.wait().with_context(|| format!("transfer from {from:#x} to {to:#x}"))?;
        let raised = self.registers.read(RAISED);
        ensure!(raised != 0, "an interrupt came, but the device says it raised none");
        self.registers.write(ACKNOWLEDGE, raised);
        Ok(interrupts)
    }

    fn wait(&self) -> Result<u64> {
        let mut event = [PollFd::new(&self.msi, PollFlags::IN)];
        if poll(&mut event, Some(&PATIENCE))? == 0 {
            bail!("no interrupt within {} s", PATIENCE.tv_sec);
        }
        let mut count = [0; 8];
        rustix::io::read(self.msi.as_fd(), &mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}
