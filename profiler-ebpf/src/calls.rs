//! Entry and return of any function: a generic pair that serves the whole catalogue.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_attach_cookie, bpf_get_current_comm, bpf_get_func_ip},
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use profiler_common::record::{ENTER_FORMAT, EXIT_FORMAT};

use crate::{
    cost,
    hot::session_is_return,
    record::{emit, next},
    subject,
};

/// Entry of a function: its first three arguments, and what the walks of its probe lead to.
#[kprobe]
pub fn enter(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

/// Return of a function.
#[kretprobe]
pub fn exit(ctx: RetProbeContext) -> u32 {
    returned(&ctx)
}

/// Both, with one link for both ends of many functions. Loaded as `BPF_TRACE_KPROBE_SESSION`.
#[kprobe]
pub fn call(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the one the kernel gave us.
    if unsafe { session_is_return(ctx.as_ptr()) } {
        returned(&RetProbeContext::new(ctx.as_ptr()))
    } else {
        entered(&ctx)
    }
}

#[inline(always)]
fn entered(ctx: &ProbeContext) -> u32 {
    static NOTHING: [u8; 1] = [0];
    let began_ns = cost::begin();
    // SAFETY: the context is the one the kernel gave us.
    let (ip, cookie) = unsafe { (bpf_get_func_ip(ctx.as_ptr()), bpf_get_attach_cookie(ctx.as_ptr())) };
    let mut comm = [0_u64; 2];
    // SAFETY: the buffer is as long as said; on an error the kernel zeroes it.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), 16) };
    let [low, high] = comm;
    let arg = |n| ctx.arg::<u64>(n).unwrap_or(0);
    let mut texts = [NOTHING.as_ptr() as u64; 2];
    let (mut known, mut numbers) = (0, [0; 2]);
    if let Some(subject) = subject::of(cookie) {
        for slot in 0..2 {
            if let Some(text) = subject::text(ctx, &subject.texts[slot]) {
                texts[slot] = text;
            }
            if let Some(number) = subject::number(ctx, &subject.numbers[slot]) {
                known |= 1 << slot;
                numbers[slot] = number;
            }
        }
    }
    let (args, [first, second], [n, m]) = ([arg(0), arg(1), arg(2)], texts, numbers);
    let [a, b, c] = args;
    emit(&ENTER_FORMAT, &[next(), ip, a, b, c, low, high, first, second, known, n, m]);
    cost::end(began_ns);
    0
}

#[inline(always)]
fn returned(ctx: &RetProbeContext) -> u32 {
    let began_ns = cost::begin();
    // SAFETY: the context is the one the kernel gave us.
    let ip = unsafe { bpf_get_func_ip(ctx.as_ptr()) };
    emit(&EXIT_FORMAT, &[next(), ip, ctx.ret::<u64>()]);
    cost::end(began_ns);
    0
}
