//! Paths of the catalogue -> walks that the eBPF programs take.

use profiler_common::walk::{NUMBER_POINTERS, TEXT_POINTERS, Walk};

use super::{Btf, Type};
use crate::catalogue::path::{Path, Step};

/// What a path is to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// A C string.
    Text,
    /// A number.
    Number,
}

/// Why a path leads nowhere in this kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum WalkError {
    #[error("{0}: the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")]
    NoBtf(String),
    #[error("{0}: no structure {1}")]
    NoStructure(String, String),
    #[error("{0}: no member {1}")]
    NoMember(String, String),
    #[error("{0}: {1} is not of the type that the path wants")]
    Kind(String, String),
    #[error("{0}: more than {TEXT_POINTERS} pointers to a string, or {NUMBER_POINTERS} to a number")]
    TooLong(String),
    #[error("{0}: where physical memory is mapped is not known")]
    NoPhysical(String),
}

/// Makes the walk for a path. `direct_map` is the kernel address of physical address 0.
///
/// A path that is an argument alone needs no BTF.
pub fn compile(
    path: &Path,
    goal: Goal,
    btf: Option<&Btf>,
    direct_map: Option<u64>,
) -> Result<Walk, WalkError> {
    let mut walk = Walk { arg: path.arg + 1, ..Walk::default() };
    let Some(base) = &path.base else {
        walk.itself = u8::from(goal == Goal::Number);
        return Ok(walk);
    };
    let text = || path.to_string();
    let btf = btf.ok_or_else(|| WalkError::NoBtf(text()))?;
    let structure =
        |name: &str| btf.structure(name).ok_or_else(|| WalkError::NoStructure(text(), name.to_owned()));
    let member = |of: u32, name: &str| {
        btf.member(of, name).ok_or_else(|| WalkError::NoMember(text(), name.to_owned()))
    };
    // Where we are, seen from the last pointer, and what lies there.
    let (mut offset, mut here) = (0_i64, structure(base)?);
    for step in &path.steps {
        match step {
            Step::Member(name) => {
                let member = member(here, name)?;
                offset += i64::from(member.offset);
                here = member.of_type;
            }
            Step::Behind(name) => {
                let Type::Pointer(target) = btf.resolve(here) else {
                    return Err(WalkError::Kind(text(), format!("what ->{name} stands behind")));
                };
                follow(&mut walk, offset, path)?;
                let member = member(target, name)?;
                (offset, here) = (member.offset.into(), member.of_type);
            }
            Step::Container(outer, name) => {
                let outer = structure(outer)?;
                offset -= i64::from(member(outer, name)?.offset);
                here = outer;
            }
            Step::Physical(target) => {
                follow(&mut walk, offset, path)?;
                let direct_map = direct_map.ok_or_else(|| WalkError::NoPhysical(text()))?;
                (offset, here) = (direct_map.cast_signed(), structure(target)?);
            }
        }
    }
    match (goal, btf.resolve(here)) {
        (Goal::Text, Type::Array(_)) => {}
        (Goal::Text, Type::Pointer(_)) => {
            follow(&mut walk, offset, path)?;
            offset = 0;
        }
        (Goal::Number, Type::Number { bytes }) if matches!(bytes, 1 | 2 | 4 | 8) => walk.bytes = bytes as u8,
        (Goal::Number, Type::Pointer(_)) => walk.bytes = 8,
        _ => return Err(WalkError::Kind(text(), "its end".to_owned())),
    }
    if goal == Goal::Number && walk.followed().len() > NUMBER_POINTERS {
        return Err(WalkError::TooLong(text()));
    }
    walk.last = offset;
    Ok(walk)
}

/// One more pointer, at this offset from the one before.
fn follow(walk: &mut Walk, offset: i64, path: &Path) -> Result<(), WalkError> {
    let followed = walk.followed().len();
    let place = walk.offsets.get_mut(followed);
    *place.ok_or_else(|| WalkError::TooLong(path.to_string()))? = offset;
    walk.pointers = walk.pointers << 1 | 1;
    Ok(())
}

/// The same walk as an argument of a kprobe event (Documentation/trace/kprobetrace.rst), without a name.
pub fn fetch_argument(walk: &Walk, goal: Goal) -> String {
    let mut text = format!("$arg{}", walk.arg);
    for offset in walk.followed() {
        text = format!("{offset:+}({text})");
    }
    match goal {
        Goal::Text => format!("{:+}({text}):string", walk.last),
        Goal::Number if walk.bytes == 0 => format!("{text}:x64"),
        Goal::Number => format!("{:+}({text}):x{}", walk.last, u32::from(walk.bytes) * 8),
    }
}
