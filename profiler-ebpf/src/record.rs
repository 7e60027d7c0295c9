//! Writing records into the trace rings, and counting them.

use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::{helpers::generated::bpf_trace_vprintk, macros::map, maps::Array};
use profiler_common::record;

/// What was seen, and what could not be written (`profiler_common::record`).
#[map]
static COUNTERS: Array<u64> = Array::with_max_entries(record::COUNTERS, 0);

/// The number of the next record: counts it as begun.
#[inline(always)]
pub fn next() -> u64 {
    count(record::SEEN, 1)
}

/// A counter's value.
#[inline(always)]
pub fn counter(index: u32) -> u64 {
    COUNTERS.get(index).copied().unwrap_or(0)
}

/// Adds to the programs' run time.
#[inline(always)]
pub fn spend(ns: u64) {
    count(record::RUN_NS, ns);
}

/// Adds to a counter and gives its value before. A function, which the verifier takes once (`subject`).
#[inline(never)]
extern "C" fn count(index: u32, number: u64) -> u64 {
    COUNTERS.get_ptr_mut(index).map_or(0, |value| add(value, number))
}

/// Adds to a map's value and gives its value before.
#[inline(always)]
pub fn add(value: *mut u64, number: u64) -> u64 {
    // Not `Relaxed`: of that the BPF back end (LLVM 22) makes an add that gives nothing back.
    // SAFETY: a map gives an aligned pointer to its own value, which lives as long as the map.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(value, number) }
}

/// Writes one record as text into every trace instance that listens.
#[inline(always)]
pub fn emit<const F: usize, const N: usize>(format: &'static [u8; F], words: &[u64; N]) {
    // SAFETY: format and words are readable for the lengths given.
    let written = unsafe {
        bpf_trace_vprintk(format.as_ptr().cast(), F as u32, words.as_ptr().cast::<c_void>(), (N * 8) as u32)
    };
    if written < 0 {
        reject();
    }
}

/// Counts a record that could not be written.
#[inline(always)]
pub fn reject() {
    count(record::REJECTED, 1);
}
