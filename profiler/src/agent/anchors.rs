//! Takes clock anchors: other clocks read between two readings of the TSC.

use std::ptr;

use profiler_mark::ticks;
use profiler_report::recording::frame::{Anchors, Scale};
use rustix::time::{ClockId, clock_gettime};

/// Readings of each clock in one burst: enough that one of them meets no interrupt.
const BURST: usize = 16;

/// One burst over all clocks, and the kernel's scale.
pub fn take() -> Anchors {
    let clocks =
        [("monotonic", ClockId::Monotonic), ("boottime", ClockId::Boottime), ("realtime", ClockId::Realtime)];
    let mut readings = Vec::with_capacity(clocks.len() * BURST);
    for (name, clock) in clocks {
        for _ in 0..BURST {
            let before = ticks();
            let value = nanoseconds(clock);
            readings.push((name.to_owned(), before, value, ticks()));
        }
    }
    Anchors { readings, scale: scale() }
}

/// Now, by a clock; nanoseconds.
pub fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The kernel's own TSC-to-`sched_clock` conversion, from the page a perf event maps
/// (`arch_perf_update_userpage`, arch/x86/events/core.c, Linux 7.3); `None` without
/// `CONFIG_PERF_EVENTS`, without a stable TSC, or with a paravirtual clock.
pub fn scale() -> Option<Scale> {
    // `struct perf_event_attr`, zeroed but for type, size and config: a software event that counts nothing.
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const PERF_COUNT_SW_DUMMY: u64 = 9;
    const ATTR_SIZE: u32 = 128;
    let mut attr = [0_u64; ATTR_SIZE as usize / 8];
    attr[0] = u64::from(PERF_TYPE_SOFTWARE) | u64::from(ATTR_SIZE) << 32;
    attr[1] = PERF_COUNT_SW_DUMMY;
    // SAFETY: the attribute is as long as it says; the other arguments are plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a fresh mapping of one page of an event we own; checked for failure below.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
    let scale = if page == libc::MAP_FAILED {
        None
    } else {
        // SAFETY: `page` is a mapped, page-aligned `struct perf_event_mmap_page`.
        let scale = unsafe { read_scale(page.cast()) };
        // SAFETY: unmaps what was mapped above.
        unsafe { libc::munmap(page, 4096) };
        scale
    };
    // SAFETY: closes the descriptor opened above.
    unsafe { libc::close(fd) };
    scale
}

/// Reads `struct perf_event_mmap_page` (include/uapi/linux/perf_event.h) under its sequence lock.
///
/// # Safety
/// `page` points to a readable mapped page of a perf event.
unsafe fn read_scale(page: *const u8) -> Option<Scale> {
    const LOCK: usize = 8;
    const CAPABILITIES: usize = 40;
    const TIME_SHIFT: usize = 50;
    const TIME_MULT: usize = 52;
    const TIME_ZERO: usize = 64;
    const CAP_USER_TIME_ZERO: u64 = 1 << 4;
    // SAFETY: all offsets lie in the page and are aligned for their type; volatile because the kernel
    // writes beside us.
    unsafe {
        for _ in 0..1000 {
            let lock = page.add(LOCK).cast::<u32>().read_volatile();
            let capabilities = page.add(CAPABILITIES).cast::<u64>().read_volatile();
            let shift = page.add(TIME_SHIFT).cast::<u16>().read_volatile();
            let mult = page.add(TIME_MULT).cast::<u32>().read_volatile();
            let zero_ns = page.add(TIME_ZERO).cast::<u64>().read_volatile();
            if lock & 1 == 0 && lock == page.add(LOCK).cast::<u32>().read_volatile() {
                let usable = capabilities & CAP_USER_TIME_ZERO != 0 && mult != 0;
                return usable.then_some(Scale { mult, shift, zero_ns });
            }
        }
    }
    None
}
