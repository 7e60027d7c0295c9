//! Where things lie in a guest's memory. Below 1 MiB is what the VMM puts there and the guest works with;
//! above is content that nobody touches, to be checked after the live update.

/// Unit of the guest's memory, bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Most vCPUs of a guest: as many pages are set aside for journals and stacks.
pub const VCPUS_MAX: u32 = 16;
/// Least memory of a guest, bytes.
pub const MEMORY_MIN_BYTES: u64 = 4 << 20;
/// Most memory of a guest, bytes: below the hole for devices.
pub const MEMORY_MAX_BYTES: u64 = 2 << 30;

/// Page tables: one level-4 table, one level-3, four level-2, which map 4 GiB one to one.
pub const PAGE_TABLES: u64 = 0x1000;
/// The global descriptor table.
pub const GDT: u64 = 0x8000;
/// The interrupt descriptor table; all zero but for the device's vector, so that any exception stops the guest and the VMM tells.
pub const IDT: u64 = 0x9000;
/// What the guest's driver and the VMM share about a passed-through device.
pub const DEVICE: u64 = 0xa000;
/// What the device reads.
pub const DMA_SOURCE: u64 = 0xb000;
/// What it writes.
pub const DMA_DESTINATION: u64 = 0xc000;
/// The device's registers: in the hole for devices.
pub const DEVICE_REGISTERS: u64 = 0xe000_0000;
/// The guest's program.
pub const CODE: u64 = 0x1_0000;
/// Most bytes of the program.
pub const CODE_BYTES: u64 = 0x8000;
/// The guest's driver.
pub const DRIVER: u64 = CODE + CODE_BYTES;
/// The journals, one page a vCPU.
pub const JOURNALS: u64 = 0x2_0000;
/// The stacks, one page a vCPU.
pub const STACKS: u64 = 0x3_0000;
/// Content with a known pattern, from here to the end.
pub const PATTERN: u64 = 0x10_0000;

/// Where the journal of a vCPU begins.
pub const fn journal(vcpu: u32) -> u64 {
    JOURNALS + vcpu as u64 * PAGE_BYTES
}

/// The top of a vCPU's stack.
pub const fn stack_top(vcpu: u32) -> u64 {
    STACKS + (vcpu as u64 + 1) * PAGE_BYTES
}

const _: () = assert!(DRIVER + CODE_BYTES <= JOURNALS && DEVICE_REGISTERS >= MEMORY_MAX_BYTES);
const _: () = assert!(journal(VCPUS_MAX) <= STACKS);
const _: () = assert!(stack_top(VCPUS_MAX) <= PATTERN);
