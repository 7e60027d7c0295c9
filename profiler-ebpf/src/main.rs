//! blackout's eBPF programs: a generic pair that serves every function of the catalogue.
//!
//! They keep no state but two counters, and go on working pinned, with no process alive, until
//! `machine_kexec` itself.
#![no_std]
#![no_main]
// The BPF target declares no compare-and-swap, so `AtomicU64` has no `fetch_add` there, though the
// instruction exists since BPF v3.
#![feature(core_intrinsics)]
#![allow(internal_features)]

use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_comm, bpf_get_func_ip, bpf_trace_vprintk},
    macros::{kprobe, kretprobe, map},
    maps::Array,
    programs::{ProbeContext, RetProbeContext},
};
use profiler_common::record::{self, ENTER_FORMAT, EXIT_FORMAT};

/// What was seen, and what could not be written (`profiler_common::record`).
#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(record::COUNTERS, 0);

/// Adds one to a counter and gives its value before.
#[inline(always)]
fn count(index: u32) -> u64 {
    match COUNTERS.get_ptr_mut(index) {
        // Not `Relaxed`: of that the BPF back end (LLVM 22) makes an add that gives nothing back.
        // SAFETY: the map gives an aligned pointer to its own value, which lives as long as the map.
        Some(value) => unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(value, 1) },
        None => 0,
    }
}

/// Writes one record as text into every trace instance that listens.
#[inline(always)]
fn emit<const F: usize, const N: usize>(format: &'static [u8; F], words: &[u64; N]) {
    // SAFETY: format and words are readable for the lengths given.
    let written = unsafe {
        bpf_trace_vprintk(format.as_ptr().cast(), F as u32, words.as_ptr().cast::<c_void>(), (N * 8) as u32)
    };
    if written < 0 {
        count(record::REJECTED);
    }
}

#[inline(always)]
fn enter(ctx: &ProbeContext, name: u64) {
    // SAFETY: the context is the one the kernel gave us.
    let ip = unsafe { bpf_get_func_ip(ctx.as_ptr()) };
    let mut comm = [0_u64; 2];
    // SAFETY: the buffer is as long as said; on an error the kernel zeroes it.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), 16) };
    let [low, high] = comm;
    let arg = |n| ctx.arg::<u64>(n).unwrap_or(0);
    emit(&ENTER_FORMAT, &[count(record::SEEN), ip, arg(0), arg(1), arg(2), low, high, name]);
}

/// Entry of a function, with its first three arguments.
#[kprobe]
pub fn enter_plain(ctx: ProbeContext) -> u32 {
    static NOTHING: [u8; 1] = [0];
    enter(&ctx, NOTHING.as_ptr() as u64);
    0
}

/// Entry of a function whose first argument is a C string in kernel memory.
#[kprobe]
pub fn enter_named(ctx: ProbeContext) -> u32 {
    let name = ctx.arg::<u64>(0).unwrap_or(0);
    enter(&ctx, name);
    0
}

/// Return of a function.
#[kretprobe]
pub fn exit(ctx: RetProbeContext) -> u32 {
    // SAFETY: the context is the one the kernel gave us.
    let ip = unsafe { bpf_get_func_ip(ctx.as_ptr()) };
    emit(&EXIT_FORMAT, &[count(record::SEEN), ip, ctx.ret::<u64>()]);
    0
}

/// `bpf_trace_vprintk` and `bpf_get_func_ip` are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
