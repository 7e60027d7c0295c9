//! Whose time a call is: follows the walks that user space made for the probe.
//!
//! Guests wait for the verifier. It goes through every path of a program: so there is no branch. It goes over the whole
//! program again for a loop, and takes twenty thousand instructions of its own for each of ours
//! (`compute_subprog_args`, kernel/bpf/liveness.c, Linux 7.3): so there is no loop either, and no step more than needed.

use aya_ebpf::{bindings::pt_regs, helpers::generated::bpf_probe_read_kernel, macros::map, maps::Array};
use profiler_common::walk::{self, NUMBER_POINTERS, Subject, TEXT_POINTERS, Walk};

/// Walks of each probe, by its attach cookie.
#[map]
static SUBJECTS: Array<Subject> = Array::with_max_entries(walk::SUBJECTS, 0);

/// Where walks begin: nowhere at 0, else the function's arguments from 1 on.
pub type Starts = [u64; 8];

/// Where the walks of this call begin.
#[inline(always)]
pub fn starts(registers: &pt_regs) -> Starts {
    let &pt_regs { rdi, rsi, rdx, rcx, r8, r9, .. } = registers;
    [0, rdi, rsi, rdx, rcx, r8, r9, 0]
}

/// The walks of the probe with this cookie; `None` if user space has not made any such.
#[inline(always)]
pub fn of(cookie: u64) -> Option<&'static Subject> {
    SUBJECTS.get(cookie as u32)
}

/// Address of the string that a walk leads to; where nothing lies if it leads nowhere, which the kernel writes as an
/// empty string (`bpf_bprintf_prepare`, kernel/bpf/helpers.c, Linux 7.3).
#[inline(always)]
pub fn text(starts: &Starts, walk: &Walk) -> u64 {
    end::<TEXT_POINTERS>(starts, walk).0
}

/// The number that a walk leads to, and 1 if it led there.
#[inline(always)]
pub fn number(starts: &Starts, walk: &Walk) -> (u64, u64) {
    let (at, failed) = end::<NUMBER_POINTERS>(starts, walk);
    let itself = u64::from(walk.itself);
    // 1 to 8, which the verifier sees: of an argument that is the number, whatever it points to, for nothing. The machine
    // is little-endian: what is shorter lies where it must.
    let bytes = u32::from(walk.bytes.wrapping_sub(1) & 7) + 1;
    let (refused, number) = read(bytes, at, 0);
    // Nothing lies at address 0, where a walk from nowhere ends.
    (number * (1 ^ itself) | at * itself, 1 ^ (failed | refused & (1 ^ itself)))
}

/// Where a walk of so many pointers at most ends, and 1 if it failed on its way.
#[inline(always)]
fn end<const POINTERS: usize>(starts: &Starts, walk: &Walk) -> (u64, u64) {
    let mut at = starts[usize::from(walk.arg & 7)];
    let mut failed = 0;
    for step in 0..POINTERS {
        let follow = walk.pointers >> step & 1;
        let from = at.wrapping_add_signed(walk.offsets[step]);
        let (refused, pointer) = read(u32::from(follow) * 8, from, at);
        failed |= refused & u64::from(follow);
        at = pointer;
    }
    (at.wrapping_add_signed(walk.last), failed)
}

/// Reads so many bytes of the kernel's memory over `word`, 8 at most; 1 if it was refused, and zeros.
#[inline(always)]
fn read(bytes: u32, from: u64, mut word: u64) -> (u64, u64) {
    // SAFETY: a word has room for what is read, which the verifier sees; the helper checks what it reads.
    let result = unsafe { bpf_probe_read_kernel((&raw mut word).cast(), bytes, from as *const _) };
    // The sign of an errno.
    (result.cast_unsigned() >> 63, word)
}
