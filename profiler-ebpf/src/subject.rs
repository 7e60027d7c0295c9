//! Whose time a call is: follows the walks that user space made for the probe.
//!
//! Without a branch: the verifier goes through every path of a program, while guests wait.

use aya_ebpf::{bindings::pt_regs, helpers::generated::bpf_probe_read_kernel, macros::map, maps::Array};
use profiler_common::walk::{self, Subject, Walk};

/// Walks of each probe, by its attach cookie.
#[map]
static SUBJECTS: Array<Subject> = Array::with_max_entries(walk::SUBJECTS, 0);

/// Where walks begin: nowhere at 0, else the function's arguments from 1 on.
pub type Starts = [u64; 8];

/// The probe's walks; none at all for a cookie that user space has not made.
#[inline(always)]
pub fn of(cookie: u64) -> Option<&'static Subject> {
    SUBJECTS.get(cookie as u32)
}

/// Where the walks of this call begin.
#[inline(always)]
pub fn starts(registers: &pt_regs) -> Starts {
    let &pt_regs { rdi, rsi, rdx, rcx, r8, r9, .. } = registers;
    [0, rdi, rsi, rdx, rcx, r8, r9, 0]
}

/// Address of the string that a walk leads to; no address if it leads nowhere, which the kernel writes as an empty
/// string (`bpf_bprintf_prepare`, kernel/bpf/helpers.c, Linux 7.3).
#[inline(always)]
pub fn text(starts: &Starts, walk: &Walk) -> u64 {
    end(starts, walk).0
}

/// The number that a walk leads to, and 1 if it led there.
#[inline(always)]
pub fn number(starts: &Starts, walk: &Walk) -> (u64, u64) {
    let (at, failed) = end(starts, walk);
    let itself = u64::from(walk.itself);
    // A bound that the verifier can see. The machine is little-endian: what is shorter lies where it must.
    let (refused, [number, _]) = read(u32::from(walk.bytes & 15), at, [0; 2]);
    // To read nothing is refused as well, which makes a walk from nowhere one that failed.
    (number | at * itself, 1 ^ (failed | refused & (1 ^ itself)))
}

/// Where a walk ends, and 1 if it failed on its way.
#[inline(always)]
fn end(starts: &Starts, walk: &Walk) -> (u64, u64) {
    let mut at = starts[usize::from(walk.arg & 7)];
    let mut failed = 0;
    for step in 0..walk::MAX_POINTERS {
        let follow = walk.pointers >> step & 1;
        let from = at.wrapping_add_signed(walk.offsets[step]);
        let (refused, [pointer]) = read(u32::from(follow) * 8, from, [at]);
        failed |= refused & u64::from(follow);
        at = pointer;
    }
    (at.wrapping_add_signed(walk.last), failed)
}

/// Reads so many bytes of the kernel's memory over `words`; 1 if it was refused, and zeros.
#[inline(always)]
fn read<const WORDS: usize>(bytes: u32, from: u64, mut words: [u64; WORDS]) -> (u64, [u64; WORDS]) {
    // SAFETY: `bytes` is no more than the words have, which the verifier sees; the helper checks what it reads.
    let result = unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), bytes, from as *const _) };
    // The sign of an errno.
    (result.cast_unsigned() >> 63, words)
}
