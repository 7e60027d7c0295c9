//! The guest's program: a loop on each vCPU that reads the time-stamp counter and keeps the largest gaps
//! between two readings. It has no exits but those the host's interrupts make.
//!
//! A vCPU begins with its journal's address in RDI (layout: [`super::journal`]). In the loop:
//!
//! ```text
//! r8   the last reading            r10  the smallest gap kept
//! r15  a number never changed      r11  the place of that gap
//! xmm0 the same number: what the FPU's state must keep
//! ```

use super::journal::{GAPS_OFFSET, GAPS_PER_VCPU, LOOPS_OFFSET, LOST_OFFSET};

std::arch::global_asm!(
    ".pushsection .rodata.blackout_lab_guest, \"a\", @progbits",
    ".global blackout_lab_guest_begin",
    ".global blackout_lab_guest_end",
    "blackout_lab_guest_begin:",
    "    movabs r15, 0x5ca1ab1edeadbea7",
    "    movq xmm0, r15",
    "    xor r10d, r10d",
    "    lea r11, [rdi + {gaps}]",
    "    rdtsc",
    "    shl rdx, 32",
    "    or rax, rdx",
    "    mov r8, rax",
    // The loop: read, compare with the last reading, count.
    "2:  rdtsc",
    "    shl rdx, 32",
    "    or rax, rdx",
    "    mov r9, rax",
    "    sub r9, r8",
    "    cmp r9, r10",
    "    ja 4f",
    "3:  mov r8, rax",
    "    movq rcx, xmm0",
    "    cmp rcx, r15",
    "    jne 7f",
    "    inc qword ptr [rdi + {loops}]",
    "    jmp 2b",
    // A larger gap takes the smallest's place; then the smallest is looked for again.
    "4:  mov [r11], r8",
    "    mov [r11 + 8], rax",
    "    mov r10, -1",
    "    lea rsi, [rdi + {gaps}]",
    "    lea rbx, [rdi + {gaps_end}]",
    "5:  mov rcx, [rsi + 8]",
    "    sub rcx, [rsi]",
    "    cmp rcx, r10",
    "    jae 6f",
    "    mov r10, rcx",
    "    mov r11, rsi",
    "6:  add rsi, 16",
    "    cmp rsi, rbx",
    "    jb 5b",
    "    jmp 3b",
    // The FPU's state was lost: count it and put it right.
    "7:  inc qword ptr [rdi + {lost}]",
    "    movq xmm0, r15",
    "    jmp 2b",
    "blackout_lab_guest_end:",
    ".popsection",
    loops = const LOOPS_OFFSET,
    lost = const LOST_OFFSET,
    gaps = const GAPS_OFFSET,
    gaps_end = const GAPS_OFFSET + GAPS_PER_VCPU * 16,
);

unsafe extern "C" {
    static blackout_lab_guest_begin: u8;
    static blackout_lab_guest_end: u8;
}

/// The program's bytes: independent of where they are put.
pub fn bytes() -> &'static [u8] {
    let (begin, end) = (&raw const blackout_lab_guest_begin, &raw const blackout_lab_guest_end);
    // SAFETY: both labels bound one constant stretch of this program, defined above.
    unsafe { std::slice::from_raw_parts(begin, end.addr() - begin.addr()) }
}

#[cfg(test)]
mod tests {
    use super::super::layout::CODE_BYTES;
    use super::*;

    #[test]
    fn the_program_reads_the_counter_and_fits() {
        let code = bytes();
        assert_eq!(code.windows(2).filter(|two| two == &[0x0f, 0x31]).count(), 2, "rdtsc");
        assert!(code.len() as u64 <= CODE_BYTES);
    }
}
