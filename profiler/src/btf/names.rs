//! Which few of a kernel's hundred thousand names are looked for.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// Bytes of a name that are looked at first.
const PREFIX_BYTES: usize = 4;

/// What of this name was found, each the first of its kind: further ones are of files that mean another thing by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Structure or union.
    pub structure: Option<u32>,
    /// Function.
    pub function: Option<u32>,
}

/// The names that are wanted, and what was found.
#[derive(Debug, Clone, Default)]
pub struct Names {
    found: HashMap<Vec<u8>, Found, FxBuildHasher>,
    /// A bit for each beginning that a wanted name may have: most others are told by it at once (a Bloom filter).
    beginnings: [u64; 4],
}

impl Names {
    /// Looks for these.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut wanted = Self::default();
        for name in names {
            match name.as_bytes().first_chunk() {
                Some(prefix) => {
                    let (word, bit) = place(*prefix);
                    wanted.beginnings[word] |= bit;
                }
                // What follows a shorter one in the file may be anything.
                None => wanted.beginnings = [u64::MAX; 4],
            }
            wanted.found.insert(name.as_bytes().to_vec(), Found::default());
        }
        wanted
    }

    /// Whether the name that these bytes begin with may be wanted.
    #[inline]
    pub fn may_hold(&self, bytes: &[u8]) -> bool {
        bytes.first_chunk().is_none_or(|prefix| {
            let (word, bit) = place(*prefix);
            self.beginnings[word] & bit != 0
        })
    }

    /// Where to note what is found of a name; `None` if it is not wanted.
    pub fn entry(&mut self, name: &[u8]) -> Option<&mut Found> {
        self.found.get_mut(name)
    }

    /// What was found of a name; `None` if it was not looked for.
    pub fn get(&self, name: &str) -> Option<Found> {
        self.found.get(name.as_bytes()).copied()
    }
}

/// Which bit a beginning has: the highest of its product with a number without a pattern (Fibonacci hashing; Knuth, The
/// Art of Computer Programming, volume 3, 6.4).
#[inline]
fn place(prefix: [u8; PREFIX_BYTES]) -> (usize, u64) {
    let hash = u32::from_le_bytes(prefix).wrapping_mul(0x9e37_79b9) >> 24;
    (hash as usize >> 6, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_wanted_is_never_passed_over(names in prop::collection::vec("[a-z_]{1,12}", 0..20), behind: [u8; 4]) {
            let wanted = Names::new(names.iter().map(String::as_str));
            for name in &names {
                let bytes: Vec<u8> = name.bytes().chain([0]).chain(behind).collect();
                prop_assert!(wanted.may_hold(&bytes));
                prop_assert_eq!(wanted.get(name), Some(Found::default()));
            }
        }
    }

    #[test]
    fn most_others_are_told_by_their_beginning() {
        let wanted = Names::new(["device", "inode", "luo_session", "pci_dev"]);
        let others = ["task_struct", "file", "sk_buff", "dentry", "net_device", "page", "zone", "cpumask"];
        assert!(others.iter().filter(|name| wanted.may_hold(name.as_bytes())).count() <= 1);
        assert_eq!(wanted.get("file"), None);
    }
}
