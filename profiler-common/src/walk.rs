//! Whose time a call is: where the entry program finds it, from the function's arguments on.
//!
//! A walk is made by user space out of a path in the catalogue and the running kernel's BTF, and handed
//! to the program in the map `SUBJECTS` under the probe's attach cookie.

/// Pointers that a walk follows at most; the first is an argument.
pub const POINTERS: usize = 6;
/// Strings and numbers that a record has room for, beside the arguments themselves.
pub const SLOTS: usize = 2;
/// Entries of the map `SUBJECTS`. Cookie 0 is nobody's.
pub const SUBJECTS: u32 = 512;

/// Where a function's arguments lie among the registers (`struct pt_regs`, arch/x86/include/asm/ptrace.h, Linux 7.3;
/// rdi, rsi, rdx, rcx, r8, r9), bytes.
pub const ARGUMENTS: [i64; 6] = [112, 104, 96, 88, 72, 64];

/// The way from the registers to a string or a number, told so that the program needs no branch to go it: the verifier
/// goes through every path of a program, while guests wait.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Bytes of the number at the end: 1, 2, 4 or 8; 0 if the end is a string.
    pub bytes: u8,
    /// Bytes of each pointer to follow: 8 up to the last of them, then 0.
    pub follow: [u8; POINTERS],
    /// Zero: makes the structure whole words.
    pub reserved: u8,
    /// Where that pointer lies, seen from the one before, and the first from the registers; bytes.
    pub offsets: [i64; POINTERS],
    /// Where the end lies, seen from the last pointer; bytes.
    pub last: i64,
}

impl Walk {
    /// Leads nowhere: no address that the kernel uses is one if this is added to it.
    pub const NOWHERE: Self =
        Self { bytes: 0, follow: [0; POINTERS], reserved: 0, offsets: [0; POINTERS], last: i64::MIN };

    /// Of the pointers to follow, where each lies, seen from the one before; bytes.
    pub fn followed(&self) -> &[i64] {
        let followed = self.follow.iter().take_while(|&&bytes| bytes != 0).count();
        self.offsets.get(..followed).unwrap_or(&self.offsets)
    }
}

/// What a record says beside the arguments.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Walks to C strings.
    pub texts: [Walk; SLOTS],
    /// Walks to numbers.
    pub numbers: [Walk; SLOTS],
}
