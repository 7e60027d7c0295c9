//! Entry and return of any function: a generic pair that serves the whole catalogue.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
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
    let registers = subject::registers(ctx);
    let (n, n_known) = subject::number(registers, third);
    let (m, m_known) = subject::number(registers, fourth);
    let mut comm = [MaybeUninit::<u64>::uninit(); 2];
    // SAFETY: the buffer is as long as said, and written in any case: on an error with zeros. A kprobe's context is the
    // registers.
    let (&pt_regs { rdi, rsi, rdx, .. }, [low, high]) = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), 16);
        (&*ctx.regs, comm.map(|word| word.assume_init()))
    };
    let (first, second) = (subject::text(registers, first), subject::text(registers, second));
    let known = n_known | m_known << 1;
    emit(&ENTER_FORMAT, &[next(), ip, rdi, rsi, rdx, low, high, first, second, known, n, m]);
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
