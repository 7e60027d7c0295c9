//! Whose time a call is: where the entry program finds it, from the function's arguments on.
//!
//! A walk is made by user space out of a path in the catalogue and the running kernel's BTF, and handed
//! to the program in the map `SUBJECTS` under the probe's attach cookie.

/// Pointers that one walk follows at most.
pub const MAX_POINTERS: usize = 5;
/// Strings and numbers that a record has room for, beside the arguments themselves.
pub const SLOTS: usize = 2;
/// Entries of the map `SUBJECTS`. Cookie 0 is nobody's.
pub const SUBJECTS: u32 = 512;

/// The way from an argument to a string or a number.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walk {
    /// Argument to begin with, from 1; 0 if there is no walk.
    pub arg: u8,
    /// Pointers to follow: that many of `offsets` count.
    pub pointers: u8,
    /// Bytes of the number at the end: 1, 2, 4 or 8; 0 if the end is a string, or the argument itself.
    pub bytes: u8,
    /// Zero: makes the structure whole words.
    pub reserved: [u8; 5],
    /// Where the next pointer lies, seen from the one before; bytes.
    pub offsets: [i64; MAX_POINTERS],
    /// Where the end lies, seen from the last pointer; bytes.
    pub last: i64,
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
