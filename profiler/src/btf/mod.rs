//! The kernel's own description of its structures (BTF, Documentation/bpf/btf.rst): where a member lies,
//! in the kernel that runs.
//!
//! One pass over the types finds where each begins and which are named structures; the rest is read when
//! it is asked for. The kernel has some hundred thousand types, and we want twenty.

pub mod walk;

use std::{collections::HashMap, ffi::CStr};

use rustc_hash::FxBuildHasher;

/// Anonymous structures and unions inside each other that are searched for a member.
const MAX_DEPTH: u32 = 8;
/// Members that are looked at for one of them: structures that hold each other have no end.
const MAX_MEMBERS: u32 = 100_000;
/// Typedefs and qualifiers that are followed to a type.
const MAX_ALIASES: u32 = 32;
/// What a type takes at least, in a kernel rather twice as much: room for all places is made at once.
const TYPE_BYTES: usize = 12;
/// A kernel has some 150 000.
const MAX_TYPES: usize = 4 << 20;

/// Why bytes are no BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Another file, another byte order or another version.
    #[error("this is no BTF that is understood")]
    Header,
    /// The types end in the middle of one, or one is of a kind that is not known.
    #[error("type {0} of the BTF is not understood")]
    Type(u32),
}

/// A kernel's types.
#[derive(Debug)]
pub struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Where each type begins in `types`; type 0 is `void` and has no place.
    places: Vec<u32>,
    /// Named structures and unions. The names are the kernel's own: nobody chooses them for their hashes.
    structures: HashMap<&'a [u8], u32, FxBuildHasher>,
    /// Functions: id, and where the name lies in `strings`.
    functions: Vec<(u32, u32)>,
}

/// A type, as far as paths need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A number of this many bytes.
    Number {
        /// 1, 2, 4, 8; others are not understood by anyone.
        bytes: u32,
    },
    /// A pointer to the type of this id.
    Pointer(u32),
    /// An array of the type of this id.
    Array(u32),
    /// A structure or union.
    Structure(u32),
    /// Anything else.
    Other,
}

/// A member of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where it lies, bytes.
    pub offset: u32,
    /// Id of its type.
    pub of_type: u32,
}

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNCTION: u32 = 12;
const ENUM64: u32 = 19;

/// `struct btf_type`.
#[derive(Clone, Copy)]
struct Head {
    name: u32,
    kind: u32,
    /// Members, enumerators, parameters.
    count: u32,
    /// Members have bit-field sizes in their offsets.
    bit_fields: bool,
    /// A size in bytes or the id of another type.
    size_or_type: u32,
}

impl<'a> Btf<'a> {
    /// Reads `/sys/kernel/btf/vmlinux` or the section `.BTF` of an image.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        const MAGIC: u32 = 0xeb9f;
        let header = |at| word(bytes, at).ok_or(BtfError::Header);
        // Magic (16 bits), version, flags; then lengths of the header and of both sections, and their offsets.
        if header(0)? & 0xff_ffff != MAGIC | 1 << 16 {
            return Err(BtfError::Header);
        }
        let section = |at: usize| -> Option<&'a [u8]> {
            let (start, length) = (word(bytes, at)?, word(bytes, at + 4)?);
            let start = word(bytes, 4)?.checked_add(start)? as usize;
            bytes.get(start..start.checked_add(length as usize)?)
        };
        let (types, strings) = (section(8).ok_or(BtfError::Header)?, section(16).ok_or(BtfError::Header)?);
        let mut places = Vec::with_capacity(types.len() / TYPE_BYTES);
        places.push(u32::MAX);
        let mut btf = Self { strings, types, places, structures: HashMap::default(), functions: Vec::new() };
        let mut place = 0;
        while place < types.len() {
            let id = btf.places.len() as u32;
            let head =
                head(types, place).filter(|_| btf.places.len() < MAX_TYPES).ok_or(BtfError::Type(id))?;
            btf.places.push(place as u32);
            if matches!(head.kind, STRUCT | UNION) && head.name != 0 {
                // The first of a name: further ones are of files that mean another thing by it.
                btf.structures.entry(btf.string(head.name)).or_insert(id);
            } else if head.kind == FUNCTION {
                btf.functions.push((id, head.name));
            }
            place += TYPE_BYTES + tail_bytes(head).ok_or(BtfError::Type(id))?;
        }
        if place != types.len() { Err(BtfError::Type(btf.places.len() as u32)) } else { Ok(btf) }
    }

    /// Id of the structure or union of this name.
    pub fn structure(&self, name: &str) -> Option<u32> {
        self.structures.get(name.as_bytes()).copied()
    }

    /// Id of each function of these names, in their order.
    pub fn functions<const N: usize>(&self, names: [&str; N]) -> [Option<u32>; N] {
        let mut ids = [None; N];
        for (id, name) in &self.functions {
            let name = self.strings.get(*name as usize..).unwrap_or_default();
            for (wanted, found) in names.iter().zip(&mut ids) {
                let wanted = wanted.as_bytes();
                // Most differ in length, which is told quicker than by comparing.
                if found.is_none() && name.get(wanted.len()) == Some(&0) && name.starts_with(wanted) {
                    *found = Some(*id);
                }
            }
        }
        ids
    }

    /// A type without its typedefs and qualifiers.
    pub fn resolve(&self, id: u32) -> Type {
        let mut id = id;
        for _ in 0..MAX_ALIASES {
            let Some(head) = self.head(id) else { return Type::Other };
            id = match head.kind {
                INT | ENUM | ENUM64 => return Type::Number { bytes: head.size_or_type },
                POINTER => return Type::Pointer(head.size_or_type),
                ARRAY => return self.array(id).map_or(Type::Other, Type::Array),
                STRUCT | UNION => return Type::Structure(id),
                // Typedef, volatile, const, restrict, type tag.
                8..=11 | 18 => head.size_or_type,
                _ => return Type::Other,
            };
        }
        Type::Other
    }

    /// A member of a structure, also one inside of anonymous structures and unions; bit fields are none.
    pub fn member(&self, structure: u32, name: &str) -> Option<Member> {
        self.search(structure, name.as_bytes(), MAX_DEPTH, &mut { MAX_MEMBERS })
    }

    fn search(&self, structure: u32, name: &[u8], depth: u32, budget: &mut u32) -> Option<Member> {
        let Type::Structure(id) = self.resolve(structure) else { return None };
        let (head, place) = (self.head(id)?, *self.places.get(id as usize)? as usize);
        for index in 0..head.count as usize {
            *budget = budget.checked_sub(1)?;
            let at = place.checked_add(12 + index * 12)?;
            let field = |n: usize| word(self.types, at + n * 4);
            let (member, of_type, offset) = (field(0)?, field(1)?, field(2)?);
            let (bits, offset) =
                if head.bit_fields { (offset >> 24, offset & 0xff_ffff) } else { (0, offset) };
            let here = Member { offset: offset / 8, of_type };
            if self.string(member) == name {
                return (bits == 0 && offset.is_multiple_of(8)).then_some(here);
            }
            if member == 0
                && depth > 0
                && let Some(inner) = self.search(of_type, name, depth - 1, budget)
            {
                return Some(Member { offset: inner.offset.checked_add(here.offset)?, ..inner });
            }
        }
        None
    }

    fn array(&self, id: u32) -> Option<u32> {
        word(self.types, (*self.places.get(id as usize)? as usize).checked_add(12)?)
    }

    fn head(&self, id: u32) -> Option<Head> {
        head(self.types, *self.places.get(id as usize)? as usize)
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        CStr::from_bytes_until_nul(rest).map_or(rest, CStr::to_bytes)
    }
}

fn head(types: &[u8], place: usize) -> Option<Head> {
    let bytes = types.get(place..)?.first_chunk::<TYPE_BYTES>()?;
    let [[name, info, size_or_type], ..] = bytes.as_chunks::<4>().0.as_chunks::<3>().0 else { return None };
    let (name, info) = (u32::from_le_bytes(*name), u32::from_le_bytes(*info));
    let (kind, count, size_or_type) = (info >> 24 & 0x1f, info & 0xffff, u32::from_le_bytes(*size_or_type));
    Some(Head { name, kind, count, bit_fields: info >> 31 == 1, size_or_type })
}

/// Bytes that follow a type's head; `None` if its kind is not known.
fn tail_bytes(head: Head) -> Option<usize> {
    let count = head.count as usize;
    Some(match head.kind {
        // Integer, variable, declaration tag.
        INT | 14 | 17 => 4,
        ARRAY => 12,
        // Data sections too.
        STRUCT | UNION | 15 | ENUM64 => count * 12,
        // Function prototypes too.
        ENUM | 13 => count * 8,
        // Pointer, forward, typedef, qualifiers, function, float, type tag.
        POINTER | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests;
