//! The committed object, made ready for this kernel: its maps exist and its programs refer to them.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::{EbpfSectionKind, Map};
use profiler_common::hot::kfunc;

use super::{
    BpfError,
    sys::{self, Kind, MapShape},
};

/// Bytes of ELF, aligned as its parser wants them.
#[repr(C, align(8))]
struct Aligned<B: ?Sized>(B);

/// The programs, built by `cargo xtask ebpf`.
static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../../../../profiler-ebpf/prebuilt/blackout-probes.bpf.o"));

/// The map that has a value for each CPU.
const SHARES: &str = "HOT_SHARES";

/// `BPF_F_RDONLY_PROG`: programs only read it.
const READ_ONLY: u32 = 1 << 7;

/// The object with its maps.
#[derive(Debug)]
pub struct Object {
    license: CString,
    programs: HashMap<String, Vec<u8>>,
    maps: HashMap<String, OwnedFd>,
    /// Ids of the kernel's functions that programs call, in the order of `kfunc::NAMES`.
    kfuncs: Vec<u32>,
}

impl Object {
    /// Makes the maps and ties the programs to them; no program is in the kernel yet.
    ///
    /// Unlike aya's own loader this reads no BTF: our programs need none, and parsing the kernel's takes
    /// longer than all the rest.
    /// Counted calls get room for `shares` functions and epochs.
    pub fn prepare(shares: u32) -> Result<Self, BpfError> {
        let mut object = aya_obj::Object::parse(&OBJECT.0)?;
        let parsed: Vec<(String, Map)> = object.maps.drain().collect();
        let mut maps = HashMap::new();
        for (name, map) in &parsed {
            let entries = if name == SHARES { shares.max(1) } else { map.max_entries() };
            // A value for each CPU: nothing is spent on what is not asked for.
            let value_bytes = if name == SHARES && shares == 0 { 8 } else { map.value_size() };
            let made = make(name, map, entries, value_bytes)
                .map_err(|source| BpfError::Map { name: name.clone(), source })?;
            maps.insert(name.clone(), made);
        }
        let text = object.functions.keys().map(|(section, _)| *section).collect::<HashSet<_>>();
        let made =
            parsed.iter().filter_map(|(name, map)| Some((name.as_str(), maps.get(name)?.as_raw_fd(), map)));
        object.relocate_maps(made, &text)?;
        object.relocate_calls(&text)?;
        let code = |program: &aya_obj::Program| {
            let function = object.functions.get(&program.function_key())?;
            Some(function.instructions.iter().flat_map(instruction).collect())
        };
        let programs = object
            .programs
            .iter()
            .filter_map(|(name, program)| Some((name.clone(), code(program)?)))
            .collect();
        Ok(Self { license: object.license, programs, maps, kfuncs: Vec::new() })
    }

    /// Puts one program into the kernel.
    pub fn load(&self, name: &'static str, kind: Kind) -> Result<OwnedFd, BpfError> {
        let code = &with_kfuncs(self.programs.get(name).ok_or(BpfError::Missing(name))?, &self.kfuncs);
        match sys::prog_load(kind, name, code, &self.license, &mut []) {
            Ok(program) => Ok(program),
            Err(source) => {
                // Only a program that is refused is asked again for the reason.
                let mut log = vec![0; 1 << 16];
                let _ = sys::prog_load(kind, name, code, &self.license, &mut log);
                Err(BpfError::Program { name, source, reason: last_lines(&log) })
            }
        }
    }

    /// Tells programs that are loaded from now on where the kernel's functions are: ids in its BTF, in the order of
    /// `kfunc::NAMES`.
    pub fn set_kfuncs(&mut self, ids: Vec<u32>) {
        self.kfuncs = ids;
    }

    /// One of its maps.
    pub fn map(&self, name: &'static str) -> Result<BorrowedFd<'_>, BpfError> {
        self.maps.get(name).map(AsFd::as_fd).ok_or(BpfError::Missing(name))
    }
}

/// Makes a map, with its content if it is a section of constants.
fn make(name: &str, map: &Map, entries: u32, value_bytes: u32) -> io::Result<OwnedFd> {
    let constant = map.section_kind() == EbpfSectionKind::Rodata;
    let made = sys::map_create(&mut MapShape {
        map_type: map.map_type(),
        key_bytes: map.key_size(),
        value_bytes,
        entries,
        flags: if constant { READ_ONLY } else { map.map_flags() },
        name: sys::short_name(name),
        ..MapShape::default()
    })?;
    let section = matches!(map.section_kind(), EbpfSectionKind::Data | EbpfSectionKind::Rodata);
    if section && map.data().len() == map.value_size() as usize {
        sys::map_update(made.as_fd(), &0_u32.to_ne_bytes(), map.data())?;
    }
    if constant {
        sys::map_freeze(made.as_fd())?;
    }
    Ok(made)
}

/// Code whose calls of kernel functions have the running kernel's ids. Without ids they stay what the kernel refuses.
fn with_kfuncs(code: &[u8], ids: &[u32]) -> Vec<u8> {
    /// `BPF_JMP | BPF_CALL`.
    const CALL: u8 = 0x85;
    /// `BPF_PSEUDO_KFUNC_CALL`, as the source register.
    const KERNEL_FUNCTION: u8 = 2 << 4;
    let mut code = code.to_vec();
    for instruction in code.as_chunks_mut::<8>().0 {
        let [CALL, registers @ 0, _, _, immediate @ ..] = instruction else { continue };
        let number = u32::from_ne_bytes(*immediate) as usize;
        let id = number.checked_sub(kfunc::SESSION_IS_RETURN).and_then(|index| ids.get(index));
        if let Some(id) = id {
            *registers = KERNEL_FUNCTION;
            *immediate = id.to_ne_bytes();
        }
    }
    code
}

/// `struct bpf_insn`: operation, two registers of four bits, offset, immediate.
fn instruction(instruction: &aya_obj::generated::bpf_insn) -> [u8; 8] {
    let [offset_low, offset_high] = instruction.off.to_ne_bytes();
    let [a, b, c, d] = instruction.imm.to_ne_bytes();
    let registers = instruction.dst_reg() | instruction.src_reg() << 4;
    [instruction.code, registers, offset_low, offset_high, a, b, c, d]
}

/// The end of the verifier's log, which says what it did not like.
fn last_lines(log: &[u8]) -> String {
    let text = profiler_report::evidence::text::scrub(
        log.split(|byte| *byte == 0).next().unwrap_or_default(),
        log.len(),
    );
    let start = text.char_indices().rev().nth(400).map_or(0, |(index, _)| index);
    text.get(start..).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_object_has_every_program_that_is_loaded() {
        let object = aya_obj::Object::parse(&OBJECT.0).unwrap();
        for name in super::super::PROGRAMS {
            assert!(object.programs.contains_key(name), "{name}");
        }
        assert!(object.maps.contains_key("COUNTERS"));
    }

    #[test]
    fn only_calls_of_kernel_functions_get_their_ids() {
        let call = |registers, number: usize| {
            let [a, b, c, d] = (number as u32).to_ne_bytes();
            [0x85, registers, 0, 0, a, b, c, d]
        };
        let helper = call(0, 5);
        let code = [helper, call(0, kfunc::SESSION_COOKIE), call(0x10, kfunc::SESSION_COOKIE)].concat();
        let wanted = [helper, call(0x20, 77), call(0x10, kfunc::SESSION_COOKIE)].concat();
        assert_eq!(with_kfuncs(&code, &[66, 77]), wanted);
        assert_eq!(with_kfuncs(&code, &[]), code);
    }

    #[test]
    fn only_the_end_of_a_log_is_told() {
        let log = [b"x".repeat(1000), b"R1 type=scalar\n\0\0".to_vec()].concat();
        let told = last_lines(&log);
        assert!(told.ends_with("R1 type=scalar") && told.len() < 410, "{told}");
        assert_eq!(last_lines(&[0; 4]), "");
    }
}
