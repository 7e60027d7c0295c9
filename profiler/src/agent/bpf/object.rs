//! The committed object, made ready for this kernel: its maps exist and its programs refer to them.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::{EbpfSectionKind, Map};

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

/// `BPF_F_RDONLY_PROG`: programs only read it.
const READ_ONLY: u32 = 1 << 7;

/// The object with its maps.
#[derive(Debug)]
pub struct Object {
    license: CString,
    programs: HashMap<String, Vec<u8>>,
    maps: HashMap<String, OwnedFd>,
}

impl Object {
    /// Makes the maps and ties the programs to them; no program is in the kernel yet.
    ///
    /// Unlike aya's own loader this reads no BTF: our programs need none, and parsing the kernel's takes
    /// longer than all the rest.
    pub fn prepare() -> Result<Self, BpfError> {
        let mut object = aya_obj::Object::parse(&OBJECT.0)?;
        let parsed: Vec<(String, Map)> = object.maps.drain().collect();
        let mut maps = HashMap::new();
        for (name, map) in &parsed {
            let made = make(name, map).map_err(|source| BpfError::Map { name: name.clone(), source })?;
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
        Ok(Self { license: object.license, programs, maps })
    }

    /// Puts one program into the kernel.
    pub fn load(&self, name: &'static str, kind: Kind) -> Result<OwnedFd, BpfError> {
        let code = self.programs.get(name).ok_or(BpfError::Missing(name))?;
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

    /// One of its maps.
    pub fn map(&self, name: &'static str) -> Result<BorrowedFd<'_>, BpfError> {
        self.maps.get(name).map(AsFd::as_fd).ok_or(BpfError::Missing(name))
    }
}

/// Makes a map, with its content if it is a section of constants.
fn make(name: &str, map: &Map) -> io::Result<OwnedFd> {
    let constant = map.section_kind() == EbpfSectionKind::Rodata;
    let made = sys::map_create(&mut MapShape {
        map_type: map.map_type(),
        key_bytes: map.key_size(),
        value_bytes: map.value_size(),
        entries: map.max_entries(),
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

/// `struct bpf_insn`: operation, two registers of four bits, offset, immediate.
fn instruction(instruction: &aya_obj::generated::bpf_insn) -> [u8; 8] {
    let [offset_low, offset_high] = instruction.off.to_ne_bytes();
    let [a, b, c, d] = instruction.imm.to_ne_bytes();
    let registers = instruction.dst_reg() | instruction.src_reg() << 4;
    [instruction.code, registers, offset_low, offset_high, a, b, c, d]
}

/// The end of the verifier's log, which says what it did not like.
fn last_lines(log: &[u8]) -> String {
    let text =
        crate::evidence::text::scrub(log.split(|byte| *byte == 0).next().unwrap_or_default(), log.len());
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
    fn only_the_end_of_a_log_is_told() {
        let log = [b"x".repeat(1000), b"R1 type=scalar\n\0\0".to_vec()].concat();
        let told = last_lines(&log);
        assert!(told.ends_with("R1 type=scalar") && told.len() < 410, "{told}");
        assert_eq!(last_lines(&[0; 4]), "");
    }
}
