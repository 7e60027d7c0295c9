//! Whose time a call is: where the entry program finds it, from the function's arguments on.
//!
//! A walk is made by user space out of a path in the catalogue and the running kernel's BTF, and handed
//! to the program in the map `SUBJECTS` under the probe's attach cookie.

/// Pointers that a walk to a string follows at most.
pub const TEXT_POINTERS: usize = 5;
/// Pointers that a walk to a number follows at most.
pub const NUMBER_POINTERS: usize = 3;
/// Strings and numbers that a record has room for, beside the arguments themselves.
pub const SLOTS: usize = 2;
/// Entries of the map `SUBJECTS`. Cookie 0 is nobody's.
pub const SUBJECTS: u32 = 512;

/// The way from an argument to a string or a number, told so that the program needs no branch to go it: the verifier
/// goes through every path of a program, while guests wait.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walk {
    /// Argument to begin with, from 1 to 6; 0 if there is no walk.
    pub arg: u8,
    /// Pointers to follow, a bit each from the lowest on: those of `offsets` count.
    pub pointers: u8,
    /// Bytes of the number at the end: 1, 2, 4 or 8; 0 if the end is a string, or the argument itself.
    pub bytes: u8,
    /// 1 if the number is the argument itself, else 0.
    pub itself: u8,
    /// Zero: makes the structure whole words.
    pub reserved: [u8; 4],
    /// Where the next pointer lies, seen from the one before; bytes.
    pub offsets: [i64; TEXT_POINTERS],
    /// Where the end lies, seen from the last pointer; bytes.
    pub last: i64,
}

impl Walk {
    /// Of the pointers to follow, where each lies, seen from the one before; bytes.
    pub fn followed(&self) -> &[i64] {
        self.offsets.get(..self.pointers.count_ones() as usize).unwrap_or(&self.offsets)
    }
}

/// What a record says beside the arguments.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subject {
    /// Walks to C strings.
    pub texts: [Walk; SLOTS],
    /// Walks to numbers.
    pub numbers: [Walk; SLOTS],
}
