//! Links: what attaches a program, by `bpf(2)` and `perf_event_open(2)`. Constants and structures are those of
//! include/uapi/linux/bpf.h and perf_event.h, Linux 7.3.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use super::sys::{ATTACH_KPROBE_MULTI, ATTACH_KPROBE_SESSION, ATTACH_SESSION, bpf, owned, raw};

const LINK_CREATE: libc::c_long = 28;

/// `BPF_PERF_EVENT`.
const ATTACH_PERF_EVENT: u32 = 41;

/// `BPF_LINK_CREATE`: head, then either a cookie or a description of many functions.
#[repr(C)]
struct Link<T> {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    rest: T,
}

/// Type of the kernel's kprobe events; absent without `CONFIG_KPROBE_EVENTS`.
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Returns the type of kprobe events for `perf_event_open(2)`.
pub fn kprobe_pmu() -> io::Result<u32> {
    fs::read_to_string(KPROBE_PMU)?.trim().parse().map_err(io::Error::other)
}

/// Which end of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its entry.
    Entry,
    /// Its return.
    Return,
}

/// Which ends of many functions: what the program was loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// One of them: [`super::sys::Kind::KprobeMulti`].
    One(End),
    /// Both: [`super::sys::Kind::KprobeSession`].
    Both,
}

/// Where a function is.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Found by the kernel.
    Symbol(&'a CStr),
    /// Known.
    Address(u64),
}

/// Attaches a [`super::sys::Kind::Kprobe`] program to a function's entry or return.
pub fn kprobe(program: BorrowedFd, place: Place, end: End, pmu: u32, cookie: u64) -> io::Result<OwnedFd> {
    // `struct perf_event_attr` in words: 0 type and size, 1 config, 7 the symbol, 8 offset from it
    // or address.
    let mut attr = [0_u64; 9];
    attr[0] = u64::from(pmu) | (size_of_val(&attr) as u64) << 32;
    // Bit 0: `PERF_PROBE_CONFIG_IS_RETPROBE` (kernel/events/core.c).
    attr[1] = u64::from(end == End::Return);
    match place {
        Place::Symbol(symbol) => attr[7] = symbol.as_ptr() as u64,
        Place::Address(address) => attr[8] = address,
    }
    on_event(program, perf_event(&attr)?, cookie)
}

/// `perf_event_open(2)`, of all tasks, on CPU 0. What the attribute points to must outlive the call.
fn perf_event(attr: &[u64; 9]) -> io::Result<OwnedFd> {
    const CLOEXEC: libc::c_ulong = 8;
    // SAFETY: the attribute is as long as it says; its pointers, if any, are the callers' to keep.
    let event = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, CLOEXEC) };
    if event < 0 { Err(io::Error::last_os_error()) } else { owned(event) }
}

/// The link holds the event: its descriptor may go.
fn on_event(program: BorrowedFd, event: OwnedFd, cookie: u64) -> io::Result<OwnedFd> {
    let (program, target) = (raw(program), event.as_raw_fd() as u32);
    // SAFETY: a whole structure of plain numbers.
    owned(unsafe {
        bpf(
            LINK_CREATE,
            &mut Link { program, target, attach_type: ATTACH_PERF_EVENT, flags: 0, rest: cookie },
        )
    }?)
}

/// Attaches a [`super::sys::Kind::Tracepoint`] program to the trace event with this id, on all CPUs: the kernel runs it
/// whichever CPU's event it hangs on (`perf_trace_run_bpf_submit`, kernel/events/core.c).
pub fn tracepoint(program: BorrowedFd, id: u32, cookie: u64) -> io::Result<OwnedFd> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    // `struct perf_event_attr` in words: 0 type and size, 1 config.
    let mut attr = [0_u64; 9];
    attr[0] = u64::from(PERF_TYPE_TRACEPOINT) | (size_of_val(&attr) as u64) << 32;
    attr[1] = u64::from(id);
    on_event(program, perf_event(&attr)?, cookie)
}

/// Attaches a program to the functions at these addresses; there is one cookie for each.
pub fn many(program: BorrowedFd, addresses: &[u64], cookies: &[u64], ends: Ends) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Many {
        flags: u32,
        count: u32,
        symbols: u64,
        addresses: u64,
        cookies: u64,
    }
    let rest = Many {
        flags: u32::from(ends == Ends::One(End::Return)),
        count: addresses.len().min(cookies.len()) as u32,
        symbols: 0,
        addresses: addresses.as_ptr() as u64,
        cookies: cookies.as_ptr() as u64,
    };
    let attach_type = match ends {
        Ends::One(_) => ATTACH_KPROBE_MULTI,
        Ends::Both => ATTACH_KPROBE_SESSION,
    };
    // SAFETY: both arrays have at least as many elements as said and outlive the call.
    owned(unsafe {
        bpf(LINK_CREATE, &mut Link { program: raw(program), target: 0, attach_type, flags: 0, rest })
    }?)
}

/// Attaches a [`super::sys::Kind::Session`] program to its function.
pub fn session(program: BorrowedFd, cookie: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Tracing {
        function: u32,
        padding: u32,
        cookie: u64,
    }
    // Function 0: the one it was loaded for.
    let rest = Tracing { function: 0, padding: 0, cookie };
    // SAFETY: a whole structure of plain numbers.
    owned(unsafe {
        bpf(
            LINK_CREATE,
            &mut Link { program: raw(program), target: 0, attach_type: ATTACH_SESSION, flags: 0, rest },
        )
    }?)
}
