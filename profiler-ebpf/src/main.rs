//! blackout's eBPF programs.
//!
//! Those that are attached keep no state but counters, and go on working pinned, with no process
//! alive, until `machine_kexec` itself.
#![no_std]
#![no_main]
// The BPF target declares no compare-and-swap, so `AtomicU64` has no `fetch_add` there, though the
// instruction exists since BPF v3.
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod ask;
mod calls;
mod cost;
mod hot;
mod kvm;
mod record;
mod subject;

/// Many of the helpers are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
