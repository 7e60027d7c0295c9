//! Whose time a call is: follows the walks that user space made for the probe.
//!
//! Without branches where there need be none: the verifier goes through every path, while guests wait.

use aya_ebpf::{helpers::generated::bpf_probe_read_kernel, macros::map, maps::Array, programs::ProbeContext};
use profiler_common::walk::{self, Subject, Walk};

/// Walks of each probe, by its attach cookie.
#[map]
static SUBJECTS: Array<Subject> = Array::with_max_entries(walk::SUBJECTS, 0);

/// Where walks begin: nowhere at 0, else the function's arguments from 1 on.
pub type Starts = [u64; 8];

/// The probe's walks; `None` if there are none.
#[inline(always)]
pub fn of(cookie: u64) -> Option<&'static Subject> {
    SUBJECTS.get(cookie as u32)
}

/// Where the walks of this call begin.
#[inline(always)]
pub fn starts(ctx: &ProbeContext) -> Starts {
    let arg = |n| ctx.arg::<u64>(n).unwrap_or(0);
    [0, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), 0]
}

/// Address of the string that a walk leads to; of no string if it leads nowhere, which the kernel writes as an empty one
/// (`bpf_bprintf_prepare`, kernel/bpf/helpers.c, Linux 7.3).
#[inline(always)]
pub fn text(starts: &Starts, walk: &Walk) -> u64 {
    end(starts, walk).0
}

/// The number that a walk leads to, and whether it led there.
#[inline(always)]
pub fn number(starts: &Starts, walk: &Walk) -> (u64, bool) {
    let (at, failed) = end(starts, walk);
    // A bound that the verifier can see. The machine is little-endian: what is shorter lies where it must.
    let (refused, [number, _]) = read::<2>(u32::from(walk.bytes & 15), at);
    // A number of no bytes is the address itself.
    let number = if walk.bytes == 0 { at } else { number };
    (number, walk.arg != 0 && failed | refused == 0)
}

/// Where a walk ends, and what is not 0 if it failed on its way.
#[inline(always)]
fn end(starts: &Starts, walk: &Walk) -> (u64, i64) {
    let mut at = starts[usize::from(walk.arg & 7)];
    let mut failed = 0;
    for step in 0..walk::MAX_POINTERS {
        if step < usize::from(walk.pointers) {
            let (refused, [pointer]) = read::<1>(8, at.wrapping_add_signed(walk.offsets[step]));
            failed |= refused;
            at = pointer;
        }
    }
    (at.wrapping_add_signed(walk.last), failed)
}

/// Reads `bytes` of the kernel's memory; 0 and they, or else what is not 0, and zeros.
#[inline(always)]
fn read<const WORDS: usize>(bytes: u32, from: u64) -> (i64, [u64; WORDS]) {
    let mut words = [0; WORDS];
    // SAFETY: `bytes` is no more than the words have; the helper checks what it reads.
    let refused = unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), bytes, from as *const _) };
    (refused, words)
}
