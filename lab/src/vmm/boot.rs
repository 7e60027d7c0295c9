//! What a new guest starts with: page tables, descriptors, its program, and registers in 64-bit mode
//! (AMD64 Architecture Programmer's Manual, volume 2, chapters 4, 5 and 14).

use super::layout::{CODE, DRIVER, GDT, IDT, PAGE_BYTES, PAGE_TABLES, journal, stack_top};
use super::memory::SharedMemory;
use super::{driver, guest_code};
use anyhow::Result;
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};

/// Present, writable, accessed, dirty.
const TABLE: u64 = 0b110_0011;
/// A page of 2 MiB instead of a table.
const LARGE: u64 = 1 << 7;
const ENTRIES: u64 = 512;
const LARGE_BYTES: u64 = 2 << 20;
/// Level-2 tables: four map 4 GiB, devices included.
const LEVEL_2_TABLES: u64 = 4;

/// Nothing; 64-bit code; data.
const DESCRIPTORS: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31; // PE, MP, ET, NE, WP, PG
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
const EFER: u64 = 1 << 8 | 1 << 10; // LME, LMA

/// Writes tables and program into a guest's memory.
///
/// # Errors
/// When the memory is too small.
pub fn load(memory: &SharedMemory) -> Result<()> {
    let level = |number: u64| PAGE_TABLES + number * PAGE_BYTES;
    memory.write_u64(level(0), level(1) | TABLE)?;
    for table in 0..LEVEL_2_TABLES {
        memory.write_u64(level(1) + table * 8, level(2 + table) | TABLE)?;
        for entry in 0..ENTRIES {
            let page = (table * ENTRIES + entry) * LARGE_BYTES;
            memory.write_u64(level(2 + table) + entry * 8, page | TABLE | LARGE)?;
        }
    }
    for (number, descriptor) in (0..).zip(DESCRIPTORS) {
        memory.write_u64(GDT + number * 8, descriptor)?;
    }
    let (address, gate) = driver::gate(DRIVER);
    memory.write_u64(address, gate[0])?;
    memory.write_u64(address + 8, gate[1])?;
    memory.write(DRIVER, driver::bytes())?;
    memory.write(CODE, guest_code::bytes())
}

/// The registers a vCPU starts with. The first begins with the driver, which does nothing until there is a device.
pub fn registers(vcpu: u32) -> kvm_regs {
    let rip = if vcpu == 0 { DRIVER } else { CODE };
    kvm_regs { rip, rsi: CODE, rsp: stack_top(vcpu), rdi: journal(vcpu), rflags: 2, ..Default::default() }
}

/// A vCPU's system registers after reset, changed to 64-bit mode.
pub fn system_registers(reset: kvm_sregs) -> kvm_sregs {
    let segment = |selector, type_, l| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        db: 1 - l,
        s: 1,
        l,
        g: 1,
        ..Default::default()
    };
    let (code, data) = (segment(8, 0b1011, 1), segment(16, 0b0011, 0));
    kvm_sregs {
        cs: code,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        gdt: kvm_dtable { base: GDT, limit: (DESCRIPTORS.len() * 8 - 1) as u16, ..Default::default() },
        idt: kvm_dtable { base: IDT, limit: (PAGE_BYTES - 1) as u16, ..Default::default() },
        cr0: CR0,
        cr3: PAGE_TABLES,
        cr4: CR4,
        efer: EFER,
        ..reset
    }
}
