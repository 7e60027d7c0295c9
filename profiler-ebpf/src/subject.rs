//! Whose time a call is: follows the walks that user space made for the probe.

use aya_ebpf::{helpers::bpf_probe_read_kernel, macros::map, maps::Array, programs::ProbeContext};
use profiler_common::walk::{self, Subject, Walk};

/// Walks of each probe, by its attach cookie.
#[map]
static SUBJECTS: Array<Subject> = Array::with_max_entries(walk::SUBJECTS, 0);

/// The probe's walks; `None` if there are none.
#[inline(always)]
pub fn of(cookie: u64) -> Option<&'static Subject> {
    SUBJECTS.get(cookie as u32)
}

/// Address of the string that a walk leads to.
#[inline(always)]
pub fn text(ctx: &ProbeContext, walk: &Walk) -> Option<u64> {
    end(ctx, walk).filter(|at| *at != 0)
}

/// The number that a walk leads to.
#[inline(always)]
pub fn number(ctx: &ProbeContext, walk: &Walk) -> Option<u64> {
    let at = end(ctx, walk)?;
    // SAFETY: the helper checks what it reads.
    unsafe {
        match walk.bytes {
            1 => bpf_probe_read_kernel(at as *const u8).ok().map(u64::from),
            2 => bpf_probe_read_kernel(at as *const u16).ok().map(u64::from),
            4 => bpf_probe_read_kernel(at as *const u32).ok().map(u64::from),
            8 => bpf_probe_read_kernel(at as *const u64).ok(),
            _ => Some(at),
        }
    }
}

/// Where a walk ends.
#[inline(always)]
fn end(ctx: &ProbeContext, walk: &Walk) -> Option<u64> {
    let mut at: u64 = match walk.arg {
        1 => ctx.arg(0)?,
        2 => ctx.arg(1)?,
        3 => ctx.arg(2)?,
        4 => ctx.arg(3)?,
        5 => ctx.arg(4)?,
        6 => ctx.arg(5)?,
        _ => return None,
    };
    for step in 0..walk::MAX_POINTERS {
        if step >= walk.pointers as usize {
            break;
        }
        let from = at.wrapping_add_signed(walk.offsets[step]);
        // SAFETY: the helper checks what it reads.
        at = unsafe { bpf_probe_read_kernel(from as *const u64) }.ok()?;
    }
    Some(at.wrapping_add_signed(walk.last))
}
