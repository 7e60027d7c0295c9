//! Paths of the catalogue -> walks that the eBPF programs take.

use profiler_common::walk::{ARGUMENTS, POINTERS, Walk};
use profiler_report::catalogue::path::{Path, Step};

use super::{Btf, Type};

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
    #[error("{0}: more than {POINTERS} pointers")]
    TooLong(String),
    #[error("{0}: not in a register")]
    NoArgument(String),
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
    let text = || path.to_string();
    let argument = ARGUMENTS.get(usize::from(path.arg)).ok_or_else(|| WalkError::NoArgument(text()))?;
    let mut walk = Walk { last: 0, ..Walk::NOWHERE };
    let Some(base) = &path.base else {
        match goal {
            Goal::Text => follow(&mut walk, *argument, path)?,
            Goal::Number => (walk.last, walk.bytes) = (*argument, 8),
        }
        return Ok(walk);
    };
    follow(&mut walk, *argument, path)?;
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
    walk.last = offset;
    Ok(walk)
}

/// One more pointer, at this offset from the one before.
fn follow(walk: &mut Walk, offset: i64, path: &Path) -> Result<(), WalkError> {
    let step = walk.followed().len();
    let (Some(place), Some(bytes)) = (walk.offsets.get_mut(step), walk.follow.get_mut(step)) else {
        return Err(WalkError::TooLong(path.to_string()));
    };
    (*place, *bytes) = (offset, 8);
    Ok(())
}

/// The walk of a path as an argument of a kprobe event (Documentation/trace/kprobetrace.rst), without a name.
pub fn fetch_argument(path: &Path, walk: &Walk, goal: Goal) -> String {
    let mut text = format!("$arg{}", path.arg + 1);
    if goal == Goal::Number && path.base.is_none() {
        return format!("{text}:x64");
    }
    // The first is the argument itself.
    for offset in walk.followed().iter().skip(1) {
        text = format!("{offset:+}({text})");
    }
    match goal {
        Goal::Text => format!("{:+}({text}):string", walk.last),
        Goal::Number => format!("{:+}({text}):x{}", walk.last, u32::from(walk.bytes) * 8),
    }
}
