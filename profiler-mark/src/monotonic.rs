//! `CLOCK_MONOTONIC`, from the C library that the standard library links already.

use std::ffi::{c_int, c_long};

/// `CLOCK_MONOTONIC` (include/uapi/linux/time.h).
const CLOCK_MONOTONIC: c_int = 1;

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
}

/// Reads `CLOCK_MONOTONIC`; nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `now` is a `struct timespec` that lives for the call. The call cannot fail for this clock.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.nanoseconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn runs_as_the_standard_library_says() {
        let (began, before) = (Instant::now(), monotonic_ns());
        std::thread::sleep(Duration::from_millis(2));
        let passed = Duration::from_nanos(monotonic_ns() - before);
        assert!(passed >= Duration::from_millis(2) && passed <= began.elapsed());
    }
}
