//! Image stamps: TSC values a stamped bzImage leaves in `boot_params`.
//!
//! The stamping code edits the image before `kexec_file_load`; the incoming kernel shows the page in
//! `/sys/kernel/boot_params/data` (arch/x86/kernel/ksysfs.c, `boot_params_data_read`).

use super::bytes::unsigned;

/// Byte of `struct boot_params` that holds the TSC (u64, little endian, ticks) at the 64-bit entry; in
/// `_pad9`, 0xeec..0x1000, which nothing reads (arch/x86/include/uapi/asm/bootparam.h, Linux 7.3).
pub const ENTRY_STAMP_OFFSET: usize = 0xf00;
/// The same for the TSC after decompression, on the jump into the kernel proper; in `_pad3`,
/// 0x78..0x80. Within reach of an 8-bit displacement: there is room for a short stub only.
pub const DECOMPRESSED_STAMP_OFFSET: usize = 0x78;

/// The two stamps, ticks of the TSC; `None` where the image was not stamped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageStamps {
    /// At the image's 64-bit entry, before it was decompressed.
    pub entry_tsc: Option<u64>,
    /// After it was decompressed and relocated, on the jump into the kernel proper.
    pub decompressed_tsc: Option<u64>,
}

impl ImageStamps {
    /// Reads the stamps out of a `boot_params` page; a page that is too short has none.
    pub fn parse(boot_params: &[u8]) -> Self {
        let stamp = |offset| unsigned(boot_params, offset, 8).filter(|&tsc| tsc != 0);
        Self { entry_tsc: stamp(ENTRY_STAMP_OFFSET), decompressed_tsc: stamp(DECOMPRESSED_STAMP_OFFSET) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_or_short_means_absent() {
        let mut page = [0; 4096];
        assert_eq!(ImageStamps::parse(&page), ImageStamps::default());
        page[ENTRY_STAMP_OFFSET..][..8].copy_from_slice(&0x1122_3344_5566u64.to_le_bytes());
        assert_eq!(
            ImageStamps::parse(&page),
            ImageStamps { entry_tsc: Some(0x1122_3344_5566), decompressed_tsc: None }
        );
        page[DECOMPRESSED_STAMP_OFFSET] = 7;
        assert_eq!(ImageStamps::parse(&page).decompressed_tsc, Some(7));
        assert_eq!(ImageStamps::parse(&page[..DECOMPRESSED_STAMP_OFFSET + 7]), ImageStamps::default());
    }
}
