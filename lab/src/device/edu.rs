//! QEMU's edu device (docs/specs/edu in QEMU's own documentation): registers in BAR 0, a DMA engine with a
//! buffer of one page, an MSI. A transfer takes it 100 ms.

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
