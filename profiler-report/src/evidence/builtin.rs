//! `modules.builtin.ranges`: which module the kernel's built-in code is of (scripts/generate_builtin_ranges.awk, Linux
//! 7.3, `CONFIG_BUILTIN_MODULE_RANGES`). Its lines, with offsets into a section of the image in hexadecimal:
//!
//! ```text
//! .init.text 00000000-00000000 = _sinittext     a symbol that tells where the section lies
//! .init.text 00023b40-00024f20 kvm_intel        code of a module; of more than one that share it, all
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::text::scrub;

/// A section: where its symbol lies in it, and the symbol.
type Anchors<'t> = BTreeMap<&'t str, (u64, &'t str)>;

/// The file.
#[derive(Debug, Default)]
pub struct Ranges<'t> {
    anchors: Anchors<'t>,
    /// Section, begin and end in it, module.
    ranges: Vec<(&'t str, u64, u64, &'t str)>,
}

impl<'t> Ranges<'t> {
    /// Reads it; what is no such line is left out.
    pub fn parse(text: &'t str) -> Self {
        let mut ranges = Self::default();
        for line in text.lines() {
            let Some((section, (begin, end), rest)) = line_of(line) else { continue };
            match rest.strip_prefix("= ") {
                Some(symbol) => drop(ranges.anchors.entry(section).or_insert((begin, symbol))),
                None => ranges.ranges.push((section, begin, end, rest)),
            }
        }
        ranges
    }

    /// The symbols that have to be known.
    pub fn symbols(&self) -> BTreeSet<String> {
        self.anchors.values().map(|(_, symbol)| (*symbol).to_owned()).collect()
    }

    /// Those of these addresses that lie in a module, with its name, where the symbols lie at `at`.
    pub fn modules(&self, addresses: &BTreeSet<u64>, at: &BTreeMap<String, u64>) -> Vec<(u64, String)> {
        let base = |section: &str| {
            let (offset, symbol) = self.anchors.get(section)?;
            at.get(*symbol)?.checked_sub(*offset)
        };
        let mut found = BTreeMap::new();
        for (section, begin, end, module) in &self.ranges {
            let bounds = base(section)
                .and_then(|base| Some(base.checked_add(*begin)?..base.checked_add(*end)?))
                .filter(|range| !range.is_empty());
            let inside = bounds.into_iter().flat_map(|range| addresses.range(range));
            found.extend(inside.map(|address| (*address, scrub(module.as_bytes(), 128))));
        }
        found.into_iter().collect()
    }
}

fn line_of(line: &str) -> Option<(&str, (u64, u64), &str)> {
    let (section, rest) = line.split_once(' ')?;
    let (range, rest) = rest.split_once(' ')?;
    let (begin, end) = range.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some((section, (hex(begin)?, hex(end)?), rest)).filter(|(.., rest)| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
        .text 00000000-00000000 = _text\n\
        .text 0000baf0-0000cb10 amd_uncore\n\
        no line\n\
        .init.text 00000010-00000010 = _sinittext\n\
        .init.text 00000100-00000200 kvm_intel kvm_amd\n\
        .data 00000000-00000100 without_anchor\n";

    #[test]
    fn an_address_is_of_the_module_whose_range_holds_it() {
        let ranges = Ranges::parse(TEXT);
        assert_eq!(ranges.symbols(), ["_sinittext", "_text"].map(str::to_owned).into());
        let at = BTreeMap::from([("_text".to_owned(), 0x1_0000), ("_sinittext".to_owned(), 0x10_0010)]);
        let addresses = [0x40, 0x1_0000, 0x1_baf0, 0x1_cb10, 0x10_0100, 0x10_01ff, 0x10_0200].into();
        let expected =
            [(0x1_baf0, "amd_uncore"), (0x10_0100, "kvm_intel kvm_amd"), (0x10_01ff, "kvm_intel kvm_amd")];
        let found = ranges.modules(&addresses, &at);
        assert_eq!(found, expected.map(|(address, module)| (address, module.to_owned())));
        assert!(
            ranges.modules(&addresses, &BTreeMap::new()).is_empty(),
            "nobody knows where the sections lie"
        );
    }

    proptest! {
        #[test]
        fn any_text_and_any_addresses_do(text in "(\\.text [0-9a-f]{0,17}-[0-9a-f]{0,17} (= )?[a-z_]{0,5}\n?)*", at: u64, address: u64) {
            let ranges = Ranges::parse(&text);
            let at = ranges.symbols().into_iter().map(|symbol| (symbol, at)).collect();
            let _ = ranges.modules(&[address].into(), &at);
        }
    }
}
