//! Image stamps: makes a bzImage note the TSC where no tracer can look.
//!
//! Two places of the decompressor (arch/x86/boot/compressed/head_64.S, Linux 6.16 to 7.3) are edited
//! so that they store `rdtsc` into padding of `struct boot_params`, which the booted kernel shows in
//! `/sys/kernel/boot_params/data`:
//!
//! - the 64-bit entry, where `kexec_file_load` always enters (`bzImage64_load`,
//!   arch/x86/kernel/kexec-bzimage64.c: `kernel_load_addr + 0x200`): its `cld; cli` become a short
//!   jump to a stub in the zeroes that `.org 0x200` leaves behind the 32-bit entry code. These bytes
//!   belong to nobody, and the entry runs before the decompressor moves itself.
//! - the jump into the decompressed kernel: the stub stands in the jump's own place and in the halt
//!   loop and padding behind it (`.Lno_longmode`, for CPUs without 64-bit mode). It must not stand
//!   below 0x200: decompressing in place (`nokaslr`) overwrites that part of the moved copy.
//!
//! The 32-bit entry keeps working, and runs through both stamps. The decompressor has no run-time
//! relocations (its linker script asserts so), and the checksum some kernels carry at the image's end
//! is checked by nobody at boot. An image whose signature is enforced cannot be stamped: the edit
//! breaks the signature.

use profiler_report::evidence::stamps::{DECOMPRESSED_STAMP_OFFSET, ENTRY_STAMP_OFFSET};

const ENTRY_64: usize = 0x200;
const XLF_KERNEL_64: u8 = 1;
/// Protocol 2.12 brought `xloadflags` (Documentation/arch/x86/boot.rst).
const PROTOCOL_MIN: u16 = 0x020c;

/// `cld; cli; xor %eax,%eax; mov %eax,%{ds,es,ss,fs,gs}; lea startup_32(%rip),%rbp`
const ENTRY_CODE: [u8; 21] = [
    0xfc, 0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8, 0x48, 0x8d, 0x2d,
    0xeb, 0xfd, 0xff, 0xff,
];
/// Zeroes wanted before the 64-bit entry: more than the stub, so that the zeroes that end an
/// instruction's operand are not taken.
const ENTRY_GAP: usize = 32;
/// `cld; cli; rdtsc; mov %eax,0xf00(%rsi); mov %edx,0xf04(%rsi); jmp entry+2`; the entry code itself
/// clears %eax next, and the boot protocol gives %rdx no meaning.
const ENTRY_STUB: [u8; 18] = [
    0xfc, 0xfa, 0x0f, 0x31, 0x89, 0x86, 0x00, 0x0f, 0x00, 0x00, 0x89, 0x96, 0x04, 0x0f, 0x00, 0x00, 0xeb,
    0x02,
];
/// `jmp` to the stub, which ends where the entry begins.
const ENTRY_JUMP: [u8; 2] = [0xeb, 0xec];

/// `mov %r15,%rsi; jmp *%rax`, then `.Lno_longmode: hlt; jmp .Lno_longmode`.
const EXIT_CODE: [u8; 8] = [0x4c, 0x89, 0xfe, 0xff, 0xe0, 0xf4, 0xeb, 0xfd];
/// `push %rax; mov %r15,%rsi; rdtsc; mov %eax,0x78(%rsi); mov %edx,0x7c(%rsi); ret`: the kernel proper
/// reads nothing but %rsi (arch/x86/kernel/head_64.S, `startup_64`).
const EXIT_STUB: [u8; 13] = [0x50, 0x4c, 0x89, 0xfe, 0x0f, 0x31, 0x89, 0x46, 0x78, 0x89, 0x56, 0x7c, 0xc3];
/// The stubs store where the reader of stamps looks.
const _: () = assert!(
    ENTRY_STUB[6] as usize | (ENTRY_STUB[7] as usize) << 8 == ENTRY_STAMP_OFFSET
        && EXIT_STUB[8] as usize == DECOMPRESSED_STAMP_OFFSET
);
/// What assemblers pad with up to `verify_cpu`: `nopw 0(%rax,%rax)`, `nop`s, or `int3`s.
const EXIT_PADDING: [&[u8]; 3] = [&[0x66, 0x0f, 0x1f, 0x44, 0x00], &[0x90; 5], &[0xcc; 5]];

/// Where an image was edited; bytes from the beginning of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// The 64-bit entry.
    pub entry: usize,
    /// The jump into the decompressed kernel.
    pub exit: usize,
}

/// Why an image was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// No boot header.
    #[error("not a bzImage: no \"HdrS\" at byte 0x202")]
    NotABzImage,
    /// Cannot be entered in 64-bit mode.
    #[error("the bzImage has no 64-bit entry (boot protocol {protocol:#06x}, xloadflags {xloadflags:#04x})")]
    No64BitEntry {
        /// Boot protocol version.
        protocol: u16,
        /// Low byte of `xloadflags`.
        xloadflags: u8,
    },
    /// The file ends before what its header speaks of.
    #[error("the bzImage is truncated: its header points beyond its {len} bytes")]
    Truncated {
        /// Bytes of the file.
        len: usize,
    },
    /// Already stamped.
    #[error("the image is stamped already")]
    AlreadyStamped,
    /// The code at a place is not the code this tool knows.
    #[error("{place} is not the code expected, image left alone; found {found}")]
    Unrecognised {
        /// Which place.
        place: &'static str,
        /// Its bytes, hex.
        found: String,
    },
    /// The jump into the kernel is not there exactly once.
    #[error(
        "the decompressor's jump into the kernel was found {count} times instead of once, image left alone"
    )]
    Exits {
        /// How many times.
        count: usize,
    },
}

/// Edits `image`, a whole bzImage file, so that it stamps its two instants.
///
/// # Errors
/// [`StampError`]; the image is then untouched.
pub fn stamp(image: &mut [u8]) -> Result<Stamped, StampError> {
    let layout = Layout::of(image)?;
    let Layout { entry, .. } = layout;
    check_entry(image, entry)?;
    let exit = find_exit(image, &layout)?;

    put(image, entry - ENTRY_STUB.len(), &ENTRY_STUB);
    put(image, entry, &ENTRY_JUMP);
    put(image, exit, &EXIT_STUB);
    Ok(Stamped { entry, exit })
}

/// File offsets.
struct Layout {
    entry: usize,
    /// Code of the decompressor: behind the compressed kernel.
    code: std::ops::Range<usize>,
}

impl Layout {
    fn of(image: &[u8]) -> Result<Self, StampError> {
        let truncated = StampError::Truncated { len: image.len() };
        if image.get(0x202..0x206) != Some(b"HdrS") {
            return Err(StampError::NotABzImage);
        }
        let field = |at: usize| -> Result<usize, StampError> {
            let bytes = image.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|b| u32::from_le_bytes(*b) as usize).ok_or(truncated.clone())
        };
        let protocol = (field(0x206)? & 0xffff) as u16;
        let xloadflags = (field(0x236)? & 0xff) as u8;
        if protocol < PROTOCOL_MIN || xloadflags & XLF_KERNEL_64 == 0 {
            return Err(StampError::No64BitEntry { protocol, xloadflags });
        }
        let setup_sectors = match field(0x1f1)? & 0xff {
            0 => 4,
            sectors => sectors,
        };
        let kernel = (setup_sectors + 1) * 512;
        let checked = |parts: [usize; 3]| {
            parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)).filter(|&at| at <= image.len())
        };
        let code_start = checked([kernel, field(0x248)?, field(0x24c)?]).ok_or(truncated.clone())?;
        let code_end = checked([kernel, field(0x1f4)?.saturating_mul(16), 0]).ok_or(truncated.clone())?;
        if code_start < kernel + ENTRY_64 + ENTRY_CODE.len() || code_end < code_start {
            return Err(truncated);
        }
        Ok(Self { entry: kernel + ENTRY_64, code: code_start..code_end })
    }
}

fn check_entry(image: &[u8], entry: usize) -> Result<(), StampError> {
    let code = image.get(entry..entry + ENTRY_CODE.len()).unwrap_or_default();
    if code.starts_with(&ENTRY_JUMP) {
        return Err(StampError::AlreadyStamped);
    }
    if code != ENTRY_CODE {
        return Err(unrecognised("the 64-bit entry", code));
    }
    let gap = image.get(entry - ENTRY_GAP..entry).unwrap_or_default();
    if gap.len() != ENTRY_GAP || gap.iter().any(|&byte| byte != 0) {
        return Err(unrecognised("the gap before the 64-bit entry", gap));
    }
    Ok(())
}

fn find_exit(image: &[u8], layout: &Layout) -> Result<usize, StampError> {
    let code = image.get(layout.code.clone()).unwrap_or_default();
    let mut found = code.windows(EXIT_CODE.len()).enumerate().filter(|(_, window)| *window == EXIT_CODE);
    let (Some((at, _)), others) = (found.next(), found.count()) else {
        return Err(StampError::Exits { count: 0 });
    };
    if others != 0 {
        return Err(StampError::Exits { count: others + 1 });
    }
    let behind = code.get(at + EXIT_CODE.len()..).unwrap_or_default();
    if !EXIT_PADDING.iter().any(|padding| behind.starts_with(padding)) {
        let found = behind.get(..EXIT_STUB.len().min(behind.len())).unwrap_or_default();
        return Err(unrecognised("the padding behind the jump into the kernel", found));
    }
    Ok(layout.code.start + at)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn unrecognised(place: &'static str, bytes: &[u8]) -> StampError {
    let found = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    StampError::Unrecognised { place, found }
}

#[cfg(test)]
#[path = "stamp_tests.rs"]
mod tests;
