//! What the programs take: those that write a record time themselves, all of them.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::kprobe, programs::ProbeContext};
use profiler_common::{cost, record};

use crate::record::{counter, emit, next, spend};

/// The clock when a program begins.
#[inline(always)]
pub fn begin() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// Adds what has passed since then to the programs' run time.
#[inline(always)]
pub fn end(began_ns: u64) {
    spend(begin() - began_ns);
}

/// Outgoing, at `machine_kexec`: writes out what the programs have taken.
#[kprobe]
pub fn cost_flush(_ctx: ProbeContext) -> u32 {
    let (runs, ns) = (counter(record::SEEN), counter(record::RUN_NS));
    emit(&cost::COST_FORMAT, &[next(), cost::CALLS, runs, runs, ns]);
    0
}
