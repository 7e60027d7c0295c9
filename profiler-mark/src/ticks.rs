//! The counter that runs on across the kexec.

/// Reads the time stamp counter, ordered against the instructions around it; ticks.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both instructions exist on every x86-64 CPU and touch no memory.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Reads the virtual counter, ordered against the instructions around it; ticks.
#[cfg(target_arch = "aarch64")]
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: CNTVCT_EL0 is readable from user space on Linux; no memory is touched.
    unsafe { std::arch::asm!("isb", "mrs {}, cntvct_el0", "isb", out(reg) ticks, options(nomem, nostack)) };
    ticks
}
