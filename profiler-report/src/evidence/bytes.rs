//! Bounds-checked reads from the kernel's little-endian structures.

/// Reads an unsigned little-endian integer of 1, 2, 4 or 8 bytes at `offset`.
///
/// `None` if it lies outside `bytes` or has another size. All kernels with live update (x86-64,
/// arm64) are little-endian.
pub(crate) fn unsigned(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    if !matches!(size, 1 | 2 | 4 | 8) {
        return None;
    }
    let field = bytes.get(offset..offset.checked_add(size)?)?;
    let mut word = [0; 8];
    word.get_mut(..size)?.copy_from_slice(field);
    Some(u64::from_le_bytes(word))
}

/// As [`unsigned`], sign-extended.
pub(crate) fn signed(bytes: &[u8], offset: usize, size: usize) -> Option<i64> {
    let value = unsigned(bytes, offset, size)?;
    Some(match size {
        1 => i64::from(value as u8 as i8),
        2 => i64::from(value as u16 as i16),
        4 => i64::from(value as u32 as i32),
        _ => value as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_little_endian_inside_bounds_only() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 0xff];
        assert_eq!(unsigned(&bytes, 0, 2), Some(0x201));
        assert_eq!(unsigned(&bytes, 0, 8), Some(0xff07_0605_0403_0201));
        assert_eq!(unsigned(&bytes, 5, 4), None);
        assert_eq!(unsigned(&bytes, 0, 3), None);
        assert_eq!(unsigned(&bytes, usize::MAX, 8), None);
    }

    #[test]
    fn extends_the_sign() {
        assert_eq!(signed(&[0xfe, 0xff, 0xff, 0xff], 0, 4), Some(-2));
        assert_eq!(signed(&[0xfe, 0xff, 0xff, 0x7f], 0, 4), Some(0x7fff_fffe));
        assert_eq!(signed(&[0x80], 0, 1), Some(-128));
    }
}
