//! A hash that names things: files by their inputs, a series by its plan. It guards nothing.

/// FNV-1a, 64 bits, over parts that are kept apart: ("ab", "c") is not ("a", "bc").
pub fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Likewise, as 16 hexadecimal digits.
pub fn fingerprint(parts: &[&[u8]]) -> String {
    format!("{:016x}", hash(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        // The hash of one byte `a` and the separator, by hand.
        assert_eq!(fingerprint(&[b"a"]), "089bc907b544c769");
    }
}
