//! The guest's driver of its passed-through device (QEMU's edu): an interrupt handler on vCPU 0 that keeps the
//! device copying memory for ever. Each copy is two transfers, into the device and back, and two interrupts.
//!
//! Its page of the guest's memory, [`super::layout::DEVICE`], in words of 64 bits:
//!
//! ```text
//!  0  address of the device's registers
//!  8  what goes on: 1 into the device, 2 back
//! 16  not 0: the device was taken anew, what went on is lost (the VMM sets it, then interrupts)
//! 24  interrupts of the device
//! 32  copies that were right
//! 40  copies that were wrong
//! ```

use super::layout::{CODE, DEVICE, DMA_DESTINATION, DMA_SOURCE, IDT};
use crate::device::edu;

/// Where the driver finds the device's registers.
pub const REGISTERS: u64 = DEVICE;
/// Where the VMM says that the device was taken anew.
pub const ANEW: u64 = DEVICE + ANEW_OFFSET;
/// The vector of the device's interrupt: any above those of exceptions.
pub const VECTOR: u8 = 0x41;
/// Bytes of the page that are used.
pub const BYTES: usize = 48;

const STEP_OFFSET: u64 = 8;
const ANEW_OFFSET: u64 = 16;
const INTERRUPTS_OFFSET: u64 = 24;
const RIGHT_OFFSET: u64 = 32;
const WRONG_OFFSET: u64 = 40;

// Of the x2APIC (Intel SDM volume 3, 12.12): base, spurious vector with the enable bit, end of interrupt.
const MSR_APIC_BASE: u32 = 0x1b;
const MSR_SPURIOUS: u32 = 0x80f;
const MSR_END: u32 = 0x80b;

std::arch::global_asm!(
    ".pushsection .rodata.blackout_lab_driver, \"a\", @progbits",
    ".global blackout_lab_driver_begin",
    ".global blackout_lab_driver_end",
    ".global blackout_lab_driver_handler",
    // vCPU 0 begins here: APIC on, as x2APIC; interrupts on; then on to the guest's program, in RSI.
    "blackout_lab_driver_begin:",
    "    mov ecx, {apic_base}",
    "    rdmsr",
    "    or eax, 0xc00",
    "    wrmsr",
    "    mov ecx, {spurious}",
    "    mov eax, 0x1ff",
    "    xor edx, edx",
    "    wrmsr",
    "    sti",
    "    jmp rsi",
    // The device's interrupt.
    "blackout_lab_driver_handler:",
    "    push rax",
    "    push rcx",
    "    push rdx",
    "    push rbx",
    "    push rsi",
    "    push rdi",
    "    mov ebx, {page}",
    "    mov rdx, [rbx]",
    // Take back what the device raised. Nothing, and not anew: a late interrupt of what is over.
    "    mov eax, [rdx + {raised}]",
    "    mov [rdx + {acknowledge}], eax",
    "    cmp qword ptr [rbx + {anew}], 0",
    "    jne 2f",
    "    test eax, eax",
    "    jz 5f",
    "    inc qword ptr [rbx + {interrupts}]",
    "    cmp qword ptr [rbx + {step}], 1",
    "    je 3f",
    // A copy is done: compare, and make the next one another.
    "    cld",
    "    mov esi, {from}",
    "    mov edi, {to}",
    "    mov ecx, {bytes} / 8",
    "    repe cmpsq",
    "    jne 1f",
    "    inc qword ptr [rbx + {right}]",
    "    jmp 2f",
    "1:  inc qword ptr [rbx + {wrong}]",
    // Into the device.
    "2:  mov qword ptr [rbx + {anew}], 0",
    "    inc qword ptr [{from}]",
    "    mov dword ptr [rdx + {source}], {from}",
    "    mov dword ptr [rdx + {destination}], {buffer}",
    "    mov ecx, 1",
    "    mov eax, {start} | {interrupt}",
    "    jmp 4f",
    // And back.
    "3:  mov dword ptr [rdx + {source}], {buffer}",
    "    mov dword ptr [rdx + {destination}], {to}",
    "    mov ecx, 2",
    "    mov eax, {start} | {interrupt} | {to_memory}",
    "4:  mov [rbx + {step}], rcx",
    "    mov dword ptr [rdx + {count}], {bytes}",
    "    mov [rdx + {command}], eax",
    "5:  mov ecx, {end}",
    "    xor eax, eax",
    "    xor edx, edx",
    "    wrmsr",
    "    pop rdi",
    "    pop rsi",
    "    pop rbx",
    "    pop rdx",
    "    pop rcx",
    "    pop rax",
    "    iretq",
    "blackout_lab_driver_end:",
    ".popsection",
    apic_base = const MSR_APIC_BASE,
    spurious = const MSR_SPURIOUS,
    end = const MSR_END,
    page = const DEVICE,
    step = const STEP_OFFSET,
    anew = const ANEW_OFFSET,
    interrupts = const INTERRUPTS_OFFSET,
    right = const RIGHT_OFFSET,
    wrong = const WRONG_OFFSET,
    from = const DMA_SOURCE,
    to = const DMA_DESTINATION,
    raised = const edu::RAISED,
    acknowledge = const edu::ACKNOWLEDGE,
    source = const edu::SOURCE,
    destination = const edu::DESTINATION,
    count = const edu::COUNT,
    command = const edu::COMMAND,
    buffer = const edu::BUFFER,
    bytes = const edu::TRANSFER_BYTES,
    start = const edu::COMMAND_START,
    interrupt = const edu::COMMAND_INTERRUPT,
    to_memory = const edu::COMMAND_TO_MEMORY,
);

unsafe extern "C" {
    static blackout_lab_driver_begin: u8;
    static blackout_lab_driver_end: u8;
    static blackout_lab_driver_handler: u8;
}

/// The driver's bytes: independent of where they are put. It begins with what sets it up.
pub fn bytes() -> &'static [u8] {
    let (begin, end) = (&raw const blackout_lab_driver_begin, &raw const blackout_lab_driver_end);
    // SAFETY: both labels bound one constant stretch of this program, defined above.
    unsafe { std::slice::from_raw_parts(begin, end.addr() - begin.addr()) }
}

/// The gate of the device's vector when the driver lies at `driver`, and where it belongs (Intel SDM volume 3,
/// 7.14.1: a 64-bit interrupt gate).
pub fn gate(driver: u64) -> (u64, [u64; 2]) {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00 << 32;
    const CODE_SELECTOR: u64 = 8 << 16;
    let (begin, handler) = (&raw const blackout_lab_driver_begin, &raw const blackout_lab_driver_handler);
    let handler = driver + (handler.addr() - begin.addr()) as u64;
    let low = handler & 0xffff | CODE_SELECTOR | PRESENT_INTERRUPT_GATE | (handler & 0xffff_0000) << 32;
    (IDT + u64::from(VECTOR) * 16, [low, handler >> 32])
}

/// What the driver has written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DriverJournal {
    /// Interrupts of the device.
    pub interrupts: u64,
    /// Copies that were right.
    pub right: u64,
    /// Copies that were wrong.
    pub wrong: u64,
}

impl DriverJournal {
    /// Reads its page.
    pub fn decode(bytes: &[u8; BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |offset: u64| words.get(offset as usize / 8).map_or(0, |word| u64::from_le_bytes(*word));
        Self { interrupts: word(INTERRUPTS_OFFSET), right: word(RIGHT_OFFSET), wrong: word(WRONG_OFFSET) }
    }
}

const _: () = assert!(CODE < 1 << 32 && DEVICE < 1 << 31 && DMA_DESTINATION < 1 << 31);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_leads_to_the_handler() {
        let (at, [low, high]) = gate(0x1_2345_8000);
        assert_eq!(at, IDT + 0x410);
        let target = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32;
        let handler = bytes().get((target - 0x1_2345_8000) as usize..).unwrap();
        // push rax, push rcx
        assert_eq!(&handler[..2], [0x50, 0x51]);
        assert_eq!((low >> 16 & 0xffff, low >> 40 & 0xff), (8, 0x8e));
    }

    #[test]
    fn a_journal_is_read_where_the_driver_writes_it() {
        let mut bytes = [0; BYTES];
        for (index, byte) in bytes.iter_mut().step_by(8).enumerate() {
            *byte = index as u8;
        }
        assert_eq!(DriverJournal::decode(&bytes), DriverJournal { interrupts: 3, right: 4, wrong: 5 });
    }
}
