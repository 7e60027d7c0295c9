//! Calls that our pinned probes could not show.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Every pinned probe that missed calls, with how many (`kprobe::nmissed`, `rethook` misses), as the
/// kernel tells in `struct bpf_link_info` since 6.7; probes it tells nothing of are left out.
pub fn of_pinned(dir: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let misses = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let misses = misses(&open(&entry.path())?)?;
        (misses > 0).then(|| (entry.file_name().to_string_lossy().into_owned(), misses))
    });
    misses.collect()
}

/// `bpf(BPF_OBJ_GET)`.
fn open(path: &Path) -> Option<OwnedFd> {
    const BPF_OBJ_GET: libc::c_long = 7;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // `union bpf_attr`: u64 pathname, u32 bpf_fd, u32 file_flags.
    let attr: [u64; 2] = [path.as_ptr() as u64, 0];
    // SAFETY: the attribute is as long as said and points to a C string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, attr.as_ptr(), size_of_val(&attr)) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a descriptor we have just been given, and nobody else owns.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bpf(BPF_OBJ_GET_INFO_BY_FD)` of a link; `None` if it is no kprobe, or an older kernel's.
fn misses(link: &OwnedFd) -> Option<u64> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
    /// `BPF_LINK_TYPE_PERF_EVENT`.
    const PERF_EVENT: u32 = 7;
    /// `BPF_PERF_EVENT_KPROBE`, `BPF_PERF_EVENT_KRETPROBE`.
    const KPROBES: std::ops::RangeInclusive<u32> = 3..=4;
    // `struct bpf_link_info` (include/uapi/linux/bpf.h, Linux 7.3) in words: 0 type and id, 2 kind of perf
    // event, 3 name, 4 its length and offset, 5 address, 6 misses, 7 cookie.
    let mut info = [0_u64; 8];
    let fd = u64::try_from(link.as_raw_fd()).ok()?;
    // `union bpf_attr`: u32 bpf_fd, u32 info_len, u64 info.
    let attr: [u64; 2] = [fd | (size_of_val(&info) as u64) << 32, info.as_mut_ptr() as u64];
    // SAFETY: both structures are as long as said and outlive the call, which writes `info`.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, attr.as_ptr(), size_of_val(&attr)) };
    let [link_type, _, kind, _, _, _, misses, _] = info;
    (result == 0 && link_type as u32 == PERF_EVENT && KPROBES.contains(&(kind as u32))).then_some(misses)
}
