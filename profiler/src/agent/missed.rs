//! Calls that our eBPF probes could not show.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use super::bpf::sys;

/// Every link that missed calls, with how many (`kprobe::nmissed`, `rethook` misses, `fprobe::nmissed`), as
/// the kernel tells in `struct bpf_link_info` since 6.7; of programs on trampolines, the runs that would have been
/// inside another. Links it tells nothing of are left out.
pub fn of_links<'a>(links: impl Iterator<Item = (&'a str, BorrowedFd<'a>)>) -> Vec<(String, u64)> {
    let misses = links.filter_map(|(name, link)| {
        let info = sys::link_info(link).ok()?;
        let misses = match program_of_tracing(&info) {
            Some(program) => sys::recursion_misses(program).ok()?,
            None => misses(&info)?,
        };
        (misses > 0).then(|| (name.to_owned(), misses))
    });
    misses.collect()
}

/// Likewise of every link that is pinned in this folder.
pub fn of_pinned(dir: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let links = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let path = CString::new(entry.path().as_os_str().as_bytes()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), sys::pinned(&path).ok()?))
    });
    let links: Vec<_> = links.collect();
    of_links(links.iter().map(|(name, link)| (name.as_str(), link.as_fd())))
}

/// The program of a link that puts it on a trampoline.
fn program_of_tracing(info: &[u64; 8]) -> Option<u32> {
    /// `BPF_LINK_TYPE_TRACING`.
    const TRACING: u32 = 2;
    let [link_type, program, ..] = *info;
    (link_type as u32 == TRACING).then_some(program as u32)
}

/// What a link's information says of misses (`struct bpf_link_info`, include/uapi/linux/bpf.h, Linux 7.3, in
/// words); `None` if it is no probe of a function.
fn misses(info: &[u64; 8]) -> Option<u64> {
    /// `BPF_LINK_TYPE_PERF_EVENT`.
    const PERF_EVENT: u32 = 7;
    /// `BPF_LINK_TYPE_KPROBE_MULTI`.
    const KPROBE_MULTI: u32 = 8;
    /// `BPF_PERF_EVENT_KPROBE`, `BPF_PERF_EVENT_KRETPROBE`.
    const KPROBES: std::ops::RangeInclusive<u32> = 3..=4;
    // Words: 0 type and id, 1 program. Perf event: 2 kind, 3 name, 4 its length and offset, 5 address,
    // 6 misses, 7 cookie. Multi: 2 addresses, 3 count and flags, 4 misses, 5 cookies.
    let [link_type, _, second, _, fourth, _, sixth, _] = *info;
    match link_type as u32 {
        PERF_EVENT if KPROBES.contains(&(second as u32)) => Some(sixth),
        KPROBE_MULTI => Some(fourth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{misses, program_of_tracing};

    #[test]
    fn each_kind_of_link_keeps_its_misses_elsewhere() {
        assert_eq!(misses(&[7 | 1 << 32, 9, 3, 0, 0, 0, 5, 0]), Some(5));
        assert_eq!(misses(&[7, 9, 1, 0, 0, 0, 5, 0]), None);
        assert_eq!(misses(&[8, 9, 0, 2, 6, 0, 5, 0]), Some(6));
        assert_eq!(misses(&[3, 9, 0, 2, 6, 0, 5, 0]), None);
        assert_eq!(program_of_tracing(&[2 | 7 << 32, 9, 58, 0, 0, 0, 0, 0]), Some(9));
        assert_eq!(program_of_tracing(&[3, 9, 0, 0, 0, 0, 0, 0]), None);
    }
}
