//! Tells the programs whose time a call is: walks through this kernel's structures.

use std::{
    fs::{self, File},
    os::fd::AsFd,
};

use memmap2::MmapOptions;
use profiler_common::{
    hot::kfunc,
    walk::{SLOTS, Subject, Walk},
};
use profiler_report::catalogue::{CATALOGUE, Probe, Way, path::Path};

use super::{
    bpf::{BpfError, Object, Oracle, sys},
    handlers,
};
use crate::btf::{
    Btf,
    walk::{Goal, WalkError, compile},
};

/// The kernel's BTF, for as long as the process lives; `None` without `CONFIG_DEBUG_INFO_BTF`.
///
/// Mapped where the kernel can do that (`btf_sysfs_vmlinux_mmap`, kernel/bpf/sysfs_btf.c, since Linux 6.16): a copy is
/// some megabytes that the kernel has to clear, to copy and to give back. It wants the mapping private.
pub fn kernel_types() -> Option<Btf<'static>> {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    let file = File::open(PATH).ok()?;
    // SAFETY: what the kernel maps here is part of its image, which never changes.
    let bytes: &'static [u8] = match unsafe { MmapOptions::new().map_copy_read_only(&file) } {
        Ok(mapped) => Box::leak(Box::new(mapped)),
        Err(_) => fs::read(PATH).ok()?.leak(),
    };
    let subjects = CATALOGUE.probes.iter().map(|probe| &probe.subject);
    let structures =
        subjects.flat_map(|subject| subject.texts.iter().chain(&subject.numbers)).flat_map(Path::structures);
    let counted = |probe: &&Probe| probe.outgoing.iter().chain(&probe.incoming).any(|way| *way == Way::Hot);
    let counted = CATALOGUE.probes.iter().filter(counted).flat_map(|probe| &probe.symbols);
    let own = kfunc::NAMES.into_iter().chain(handlers::STRUCTURES);
    Btf::parse(bytes, structures.chain(counted.map(String::as_str)).chain(own)).ok()
}

/// Kernel address of physical address 0 (`page_offset_base`, arch/x86/mm/kaslr.c, Linux 7.3: a variable
/// with `CONFIG_RANDOMIZE_MEMORY` or five-level paging).
pub fn direct_map(oracle: &Oracle) -> Option<u64> {
    oracle.word(oracle.address("page_offset_base")?)
}

/// Attach cookie of a probe: its place in the catalogue, from 1. 0, nobody's, if its subject needs no walk.
pub fn cookie(probe: &Probe) -> u64 {
    if probe.subject.texts.is_empty() && probe.subject.numbers.is_empty() {
        return 0;
    }
    CATALOGUE
        .probes
        .iter()
        .zip(1..)
        .find(|(other, _)| other.name == probe.name)
        .map_or(0, |(_, cookie)| cookie)
}

/// Hands the program the walks of one probe; gives what of its subject this kernel cannot say.
pub fn set(
    object: &Object,
    probe: &Probe,
    btf: Option<&Btf>,
    direct_map: Option<u64>,
) -> Result<Vec<WalkError>, BpfError> {
    let cookie = cookie(probe);
    let mut missing = Vec::new();
    let mut walks = |paths: &[Path], goal| {
        let mut walks = [Walk::NOWHERE; SLOTS];
        for (walk, path) in walks.iter_mut().zip(paths) {
            match compile(path, goal, btf, direct_map) {
                Ok(made) => *walk = made,
                Err(error) => missing.push(error),
            }
        }
        walks
    };
    let subject = Subject {
        texts: walks(&probe.subject.texts, Goal::Text),
        numbers: walks(&probe.subject.numbers, Goal::Number),
    };
    if cookie != 0 {
        put(object, cookie, &subject)?;
    }
    Ok(missing)
}

/// Tells the program that probes without a subject have none: a walk of zeros would lead to the registers.
pub fn set_nobodys(object: &Object) -> Result<(), BpfError> {
    put(object, 0, &Subject { texts: [Walk::NOWHERE; SLOTS], numbers: [Walk::NOWHERE; SLOTS] })
}

fn put(object: &Object, cookie: u64, subject: &Subject) -> Result<(), BpfError> {
    let set = sys::array_set(object.map("SUBJECTS")?.as_fd(), cookie as u32, subject);
    set.map_err(|source| BpfError::Map { name: "SUBJECTS".to_owned(), source })
}
