//! `bpf(2)`, no more of it than is used: maps, programs and what is known of them. Constants and structures are those of
//! include/uapi/linux/bpf.h, Linux 7.3; the kernel takes a shorter `bpf_attr` for one whose rest is zero.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_FREEZE: libc::c_long = 22;

/// `BPF_TRACE_KPROBE_MULTI`.
pub(super) const ATTACH_KPROBE_MULTI: u32 = 42;
/// `BPF_TRACE_KPROBE_SESSION`.
pub(super) const ATTACH_KPROBE_SESSION: u32 = 56;
/// `BPF_TRACE_FSESSION`.
pub(super) const ATTACH_SESSION: u32 = 58;

/// Returns a name as the kernel takes it.
pub fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::other)
}

/// Type of a program: how it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Entry or return of functions, each with a probe of its own.
    Kprobe,
    /// Entry or return of many functions with one link.
    KprobeMulti,
    /// Entry and return of many functions with one link (Linux 6.10).
    KprobeSession,
    /// A trace event, with its record as context.
    Tracepoint,
    /// Run by user space.
    Syscall,
    /// Entry and return of one function, on a trampoline: the function's id in the kernel's BTF.
    Session(u32),
}

/// `BPF_MAP_CREATE`, up to `map_name`.
#[repr(C)]
#[derive(Default)]
pub struct MapShape {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Most elements.
    pub entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Descriptor; maps of maps only.
    pub inner_map: u32,
    /// Only with its flag.
    pub numa_node: u32,
    /// See [`short_name`].
    pub name: [u8; 16],
}

/// Makes a map.
pub fn map_create(shape: &mut MapShape) -> io::Result<OwnedFd> {
    // SAFETY: a whole structure of plain numbers.
    owned(unsafe { bpf(MAP_CREATE, shape) }?)
}

#[repr(C)]
struct Element {
    map: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Sets an element; key and value must be as long as the map's.
pub fn map_update(map: BorrowedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    // SAFETY: the kernel reads key and value at the lengths of the map, which the callers keep.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut Element { map: raw(map), key, value, flags: 0 }) }.map(drop)
}

/// Sets an element of an array whose values are `T`s.
pub fn array_set<T: Copy>(map: BorrowedFd, index: u32, value: &T) -> io::Result<()> {
    let (key, value) = (&raw const index as u64, &raw const *value as u64);
    // SAFETY: the kernel reads a `u32` and a `T`, the key and value of such an array.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut Element { map: raw(map), key, value, flags: 0 }) }.map(drop)
}

/// Reads a word out of an array of words.
pub fn array_word(map: BorrowedFd, index: u32) -> io::Result<u64> {
    let mut word = 0_u64;
    let (key, value) = (&raw const index as u64, &raw mut word as u64);
    // SAFETY: the kernel reads a `u32` and writes a `u64`, the key and value of such an array.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut Element { map: raw(map), key, value, flags: 0 }) }?;
    Ok(word)
}

/// Reads an element of an array that has a value for each of `cpus` possible CPUs; `T` is plain words.
pub fn per_cpu_values<T: Copy>(map: BorrowedFd, index: u32, cpus: usize) -> io::Result<Vec<T>> {
    let mut values = Vec::<T>::with_capacity(cpus);
    let (key, value) = (&raw const index as u64, values.as_mut_ptr() as u64);
    // SAFETY: the kernel reads a `u32` and writes a `T` for each possible CPU, whole words, the key and value of such
    // an array; where it knows of fewer CPUs, the rest is zero words.
    unsafe {
        values.as_mut_ptr().write_bytes(0, cpus);
        bpf(MAP_LOOKUP_ELEM, &mut Element { map: raw(map), key, value, flags: 0 })?;
        values.set_len(cpus);
    }
    Ok(values)
}

/// From now on user space cannot write to the map.
pub fn map_freeze(map: BorrowedFd) -> io::Result<()> {
    // SAFETY: one descriptor.
    unsafe { bpf(MAP_FREEZE, &mut raw(map)) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    /// BTF of the program itself, and what refers to it: we have none.
    own_types: [u32; 9],
    attach_function: u32,
}

/// Loads a program; `code` is whole instructions, 8 bytes each. `log` takes what the verifier says, if it
/// is not empty.
pub fn prog_load(kind: Kind, name: &str, code: &[u8], license: &CStr, log: &mut [u8]) -> io::Result<OwnedFd> {
    const SLEEPABLE: u32 = 1 << 4;
    let (number, attach_type, flags, attach_function) = match kind {
        Kind::Kprobe => (2, 0, 0, 0),
        Kind::KprobeMulti => (2, ATTACH_KPROBE_MULTI, 0, 0),
        Kind::KprobeSession => (2, ATTACH_KPROBE_SESSION, 0, 0),
        Kind::Tracepoint => (5, 0, 0, 0),
        Kind::Session(function) => (26, ATTACH_SESSION, 0, function),
        Kind::Syscall => (31, 0, SLEEPABLE, 0),
    };
    let mut load = ProgLoad {
        kind: number,
        instructions: (code.len() / 8) as u32,
        code: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        flags,
        name: short_name(name),
        attach_type,
        attach_function,
        ..ProgLoad::default()
    };
    if !log.is_empty() {
        load.log_level = 1;
        load.log_bytes = u32::try_from(log.len()).unwrap_or(u32::MAX);
        load.log = log.as_mut_ptr() as u64;
    }
    // SAFETY: code, license and log are as long as said and outlive the call.
    owned(unsafe { bpf(PROG_LOAD, &mut load) }?)
}

/// A kernel object's name: at most 15 bytes, then NUL.
pub fn short_name(name: &str) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().take(15).zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() { from } else { b'_' };
    }
    short
}

/// Runs a [`Kind::Syscall`] program with `context`, which it may change.
pub fn prog_run<T: Copy>(program: BorrowedFd, context: &mut T) -> io::Result<i32> {
    #[repr(C)]
    #[derive(Default)]
    struct Run {
        program: u32,
        result: i32,
        data: [u64; 4],
        context_bytes: u32,
        context_out_bytes: u32,
        context: u64,
        context_out: u64,
    }
    let mut run = Run {
        program: raw(program),
        context_bytes: size_of::<T>() as u32,
        context: &raw mut *context as u64,
        ..Run::default()
    };
    // SAFETY: the context is as long as said and outlives the call; its type is plain bytes to all who use it.
    unsafe { bpf(PROG_TEST_RUN, &mut run) }?;
    Ok(run.result)
}

#[repr(C)]
struct Path {
    path: u64,
    object: u32,
    flags: u32,
}

/// Pins a link or map in bpffs.
pub fn pin(object: BorrowedFd, path: &CStr) -> io::Result<()> {
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf(OBJ_PIN, &mut Path { path: path.as_ptr() as u64, object: raw(object), flags: 0 }) }.map(drop)
}

/// Opens what is pinned.
pub fn pinned(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string that outlives the call.
    owned(unsafe { bpf(OBJ_GET, &mut Path { path: path.as_ptr() as u64, object: 0, flags: 0 }) }?)
}

/// `struct bpf_link_info` as words; what the kernel does not fill stays zero.
pub fn link_info(link: BorrowedFd) -> io::Result<[u64; 8]> {
    let mut info = [0_u64; 8];
    info_of(link, &mut info)?;
    Ok(info)
}

fn info_of(object: BorrowedFd, info: &mut [u64]) -> io::Result<()> {
    #[repr(C)]
    struct Get {
        object: u32,
        bytes: u32,
        info: u64,
    }
    let bytes = size_of_val(info) as u32;
    // SAFETY: the kernel writes at most as much as said.
    unsafe {
        bpf(OBJ_GET_INFO_BY_FD, &mut Get { object: raw(object), bytes, info: info.as_mut_ptr() as u64 })
    }
    .map(drop)
}

/// Runs of a program that did not take place because it was running already on that CPU.
pub fn recursion_misses(program_id: u32) -> io::Result<u64> {
    #[repr(C)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    // SAFETY: plain numbers.
    let program = owned(unsafe { bpf(PROG_GET_FD_BY_ID, &mut ById { id: program_id, next: 0, flags: 0 }) }?)?;
    // `struct bpf_prog_info` as words (include/uapi/linux/bpf.h, Linux 7.3): 26 is `recursion_misses`. What it may
    // point to is not asked for.
    let mut info = [0_u64; 27];
    info_of(program.as_fd(), &mut info)?;
    let [.., misses] = info;
    Ok(misses)
}

/// # Safety
/// `attr` is what `command` wants, and what it points to is as the kernel will use it.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: by the contract above; the attribute is as long as said.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor that a system call has just given.
pub(super) fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the callers were given it by the kernel, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn raw(fd: BorrowedFd) -> u32 {
    // A descriptor that is borrowed is open, so it is not negative.
    fd.as_raw_fd() as u32
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn names_are_cut_and_made_fit() {
        assert_eq!(&short_name(".rodata.str1.1"), b"_rodata_str1_1\0\0");
        assert_eq!(&short_name("a-name-that-is-too-long"), b"a_name_that_is_\0");
    }
}
