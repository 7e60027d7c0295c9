//! Whose time a call is: follows the walks that user space made for the probe.
//!
//! Guests wait for the verifier. It goes through every path of a program: so there is no branch. It takes twenty thousand
//! instructions of its own for each of ours (`compute_subprog_args`, kernel/bpf/liveness.c, Linux 7.3), but those of a
//! function that is given no pointer into its caller's stack it takes once: so a walk is such a function.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_probe_read_kernel, macros::map, maps::Array, programs::ProbeContext,
};
use profiler_common::walk::{self, POINTERS, Subject, Walk};

/// Walks of each probe, by its attach cookie.
#[map]
static SUBJECTS: Array<Subject> = Array::with_max_entries(walk::SUBJECTS, 0);

/// Where walks begin: the address of the registers, which to the verifier is a number like any other once it was read.
#[inline(always)]
pub fn registers(ctx: &ProbeContext) -> u64 {
    let registers = ctx.as_ptr();
    read(8, (&raw const registers) as u64, 0).1
}

/// The walks of the probe with this cookie; `None` if user space has not made any such.
#[inline(always)]
pub fn of(cookie: u64) -> Option<&'static Subject> {
    SUBJECTS.get(cookie as u32)
}

/// Address of the string that a walk leads to; where nothing lies if it leads nowhere, which the kernel writes as an
/// empty string (`bpf_bprintf_prepare`, kernel/bpf/helpers.c, Linux 7.3).
#[inline(always)]
pub fn text(registers: u64, walk: &Walk) -> u64 {
    end(registers, walk)
}

/// The number that a walk leads to, and 1 if it led there.
#[inline(always)]
pub fn number(registers: u64, walk: &Walk) -> (u64, u64) {
    // 1 to 8, which the verifier sees. The machine is little-endian: what is shorter lies where it must.
    let bytes = u32::from(walk.bytes.wrapping_sub(1) & 7) + 1;
    let (error, number) = read(bytes, end(registers, walk), 0);
    (number, 1 & !error)
}

/// Where a walk ends that begins at `at`; if it fails on its way, near address 0, where nothing lies.
#[inline(never)]
extern "C" fn end(mut at: u64, walk: &Walk) -> u64 {
    for step in 0..POINTERS {
        let from = at.wrapping_add_signed(walk.offsets[step]);
        // 8 or 0, which the verifier sees. Of 0 nothing is read, and that may be refused: `at` stays.
        (_, at) = read(u32::from(walk.follow[step] & 8), from, at);
    }
    at.wrapping_add_signed(walk.last)
}

/// Reads so many bytes of the kernel's memory over `word`, 8 at most; if that is refused: all ones, and zeros.
#[inline(always)]
fn read(bytes: u32, from: u64, mut word: u64) -> (u64, u64) {
    // SAFETY: a word has room for what is read, which the verifier sees; the helper checks what it reads.
    let result = unsafe { bpf_probe_read_kernel((&raw mut word).cast(), bytes, from as *const _) };
    // The sign of an errno.
    ((result >> 63).cast_unsigned(), word)
}
