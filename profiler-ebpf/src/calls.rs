//! Entry and return of any function: a generic pair that serves the whole catalogue.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_attach_cookie, bpf_get_current_comm, bpf_get_func_ip},
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use profiler_common::{
    record::{ENTER_FORMAT, EXIT_FORMAT},
    walk::Subject,
};

use crate::{
    cost,
    hot::session_is_return,
    record::{emit, next, reject},
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
    let began_ns = cost::begin();
    // SAFETY: the context is the one the kernel gave us.
    let (ip, cookie) = unsafe { (bpf_get_func_ip(ctx.as_ptr()), bpf_get_attach_cookie(ctx.as_ptr())) };
    let Some(Subject { texts: [first, second], numbers: [third, fourth] }) = subject::of(cookie) else {
        reject();
        return 0;
    };
    let mut comm = [0_u64; 2];
    // SAFETY: the buffer is as long as said; on an error the kernel zeroes it.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), 16) };
    // SAFETY: a kprobe's context is the registers.
    let starts = subject::starts(unsafe { &*ctx.regs });
    let (first, second) = (subject::text(&starts, first), subject::text(&starts, second));
    let ((n, n_known), (m, m_known)) = (subject::number(&starts, third), subject::number(&starts, fourth));
    let ([_, a, b, c, ..], [low, high], known) = (starts, comm, n_known | m_known << 1);
    emit(&ENTER_FORMAT, &[next(), ip, a, b, c, low, high, first, second, known, n, m]);
    cost::end(began_ns);
    0
}

#[inline(always)]
fn returned(ctx: &RetProbeContext) -> u32 {
    let began_ns = cost::begin();
    // SAFETY: the context is the one the kernel gave us, and a kretprobe's is the registers.
    let (ip, value) = unsafe { (bpf_get_func_ip(ctx.as_ptr()), (*ctx.regs).rax) };
    emit(&EXIT_FORMAT, &[next(), ip, value]);
    cost::end(began_ns);
    0
}
