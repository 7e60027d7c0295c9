//! The kernel's own description of its structures (BTF, Documentation/bpf/btf.rst): where a member lies,
//! in the kernel that runs.
//!
//! One pass over the types finds those of the names that will be asked for, and where every sixteenth begins; the rest
//! is read when it is asked for. The kernel has some hundred thousand types, and we want twenty: guests wait while we
//! look, and each page that we fill the kernel has to clear.

mod names;
pub mod walk;

use std::ffi::CStr;

use names::Names;

/// Anonymous structures and unions inside each other that are searched for a member.
const MAX_DEPTH: u32 = 8;
/// Members that are looked at for one of them: structures that hold each other have no end.
const MAX_MEMBERS: u32 = 100_000;
/// Typedefs and qualifiers that are followed to a type.
const MAX_ALIASES: u32 = 32;
/// What a type takes at least.
const TYPE_BYTES: usize = 12;
/// Of so many types the place of one is kept; the others are found from there.
const STRIDE: u32 = 16;
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
    /// How many types there are. Type 0 is `void` and has no place.
    count: u32,
    /// Where types 1, 1 + `STRIDE` and so on begin in `types`.
    places: Vec<u32>,
    /// What was looked for in the one pass.
    names: Names,
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
    /// Reads `/sys/kernel/btf/vmlinux` or the section `.BTF` of an image. Structures and functions of these `names` will
    /// be known at once; others are found too, but each takes another pass.
    pub fn parse<'n>(bytes: &'a [u8], names: impl IntoIterator<Item = &'n str>) -> Result<Self, BtfError> {
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
        let mut names = Names::new(names);
        let (mut places, mut next, mut id) = (Vec::new(), 0, 1);
        while next < types.len() {
            let (place, head) = (next, head(types, next));
            let wrong = BtfError::Type(id);
            let head = head.filter(|_| (id as usize) < MAX_TYPES).ok_or(wrong)?;
            next += TYPE_BYTES + tail_bytes(head).ok_or(wrong)?;
            if id % STRIDE == 1 {
                places.push(place as u32);
            }
            if matches!(head.kind, STRUCT | UNION | FUNCTION)
                && head.name != 0
                && names.may_hold(strings.get(head.name as usize..).unwrap_or_default())
                && let Some(found) = names.entry(string(strings, head.name))
            {
                let first = if head.kind == FUNCTION { &mut found.function } else { &mut found.structure };
                first.get_or_insert(id);
            }
            id += 1;
        }
        if next != types.len() {
            Err(BtfError::Type(id))
        } else {
            Ok(Self { strings, types, count: id, places, names })
        }
    }

    /// Id of the structure or union of this name.
    pub fn structure(&self, name: &str) -> Option<u32> {
        match self.names.get(name) {
            Some(found) => found.structure,
            None => self.find(name, |kind| matches!(kind, STRUCT | UNION)),
        }
    }

    /// Id of the function of this name.
    pub fn function(&self, name: &str) -> Option<u32> {
        match self.names.get(name) {
            Some(found) => found.function,
            None => self.find(name, |kind| kind == FUNCTION),
        }
    }

    /// The first of a name that was not looked for.
    fn find(&self, name: &str, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let named = |head: Head| is_it(head.kind) && self.string(head.name) == name.as_bytes();
        (1..self.count).find(|id| self.head(*id).is_some_and(named))
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
        let (place, head) = self.at(id)?;
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
        word(self.types, self.at(id)?.0.checked_add(TYPE_BYTES)?)
    }

    fn head(&self, id: u32) -> Option<Head> {
        Some(self.at(id)?.1)
    }

    /// Where a type begins, and its head.
    fn at(&self, id: u32) -> Option<(usize, Head)> {
        let before = id.checked_sub(1).filter(|_| id < self.count)?;
        let mut place = *self.places.get((before / STRIDE) as usize)? as usize;
        for _ in 0..before % STRIDE {
            place += TYPE_BYTES + tail_bytes(head(self.types, place)?)?;
        }
        Some((place, head(self.types, place)?))
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        string(self.strings, offset)
    }
}

fn string(strings: &[u8], offset: u32) -> &[u8] {
    let rest = strings.get(offset as usize..).unwrap_or_default();
    CStr::from_bytes_until_nul(rest).map_or(rest, CStr::to_bytes)
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
    /// By kind: bytes, and bytes for each that is counted. A table, for this is done for every type.
    const TAILS: [Option<(u8, u8)>; 20] = {
        const NONE: Option<(u8, u8)> = Some((0, 0));
        let mut tails = [NONE; 20];
        tails[0] = None;
        // Integer, variable, declaration tag.
        (tails[INT as usize], tails[14], tails[17]) = (Some((4, 0)), Some((4, 0)), Some((4, 0)));
        tails[ARRAY as usize] = Some((12, 0));
        // Data sections too.
        (tails[STRUCT as usize], tails[UNION as usize], tails[15]) =
            (Some((0, 12)), Some((0, 12)), Some((0, 12)));
        tails[ENUM64 as usize] = Some((0, 12));
        // Function prototypes too.
        (tails[ENUM as usize], tails[13]) = (Some((0, 8)), Some((0, 8)));
        tails
    };
    let (fixed, each) = (*TAILS.get(head.kind as usize)?)?;
    Some(usize::from(fixed) + usize::from(each) * head.count as usize)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests;
