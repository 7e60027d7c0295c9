//! `/proc/zoneinfo`: zones of the page allocator (`zoneinfo_show_print`, mm/vmstat.c, Linux 7.3).

use std::str::{self, SplitAsciiWhitespace};

/// Pages in a section of the memory map on x86-64: 128 MiB (`SECTION_SIZE_BITS`,
/// arch/x86/include/asm/sparsemem.h).
const SECTION_PAGES: u64 = 1 << 15;

/// One zone of one node. Pages are of 4 KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// NUMA node.
    pub node: u32,
    /// `DMA32`, `Normal`, ...
    pub name: String,
    /// Pages from the first to the last, holes included.
    pub spanned: u64,
    /// Pages that exist.
    pub present: u64,
    /// Pages that the allocator has.
    pub managed: u64,
    /// Number of the first page.
    pub start_pfn: u64,
}

/// Zones that have pages, in the file's order: by node, the highest of a node last.
pub fn parse(bytes: &[u8]) -> Vec<Zone> {
    let mut zones: Vec<Zone> = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), zones.last_mut()) {
            (Some("Node"), _) => zones.extend(head(words)),
            (Some("spanned"), Some(zone)) => zone.spanned = number(words),
            (Some("present"), Some(zone)) => zone.present = number(words),
            (Some("managed"), Some(zone)) => zone.managed = number(words),
            (Some("start_pfn:"), Some(zone)) => zone.start_pfn = number(words),
            _ => {}
        }
    }
    zones.retain(|zone| zone.present > 0);
    zones
}

/// Reads `0, zone   Normal`.
fn head(mut words: SplitAsciiWhitespace) -> Option<Zone> {
    let node = words.next()?.strip_suffix(',')?.parse().ok()?;
    let name = words.nth(1)?;
    Some(Zone { node, name: super::text::scrub(name.as_bytes(), 32), ..Zone::default() })
}

fn number(mut words: SplitAsciiWhitespace) -> u64 {
    words.next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Pages of a node whose `struct page` was left to the deferred initialisation: those of its highest zone,
/// from the first section's border that lies at least one section behind the zone's begin (`defer_init`,
/// mm/mm_init.c, Linux 7.3). `None` if the node is not there; 0 if it is too small to defer anything.
pub fn deferred_pages(zones: &[Zone], node: u32) -> Option<u64> {
    let zone = zones.iter().rfind(|zone| zone.node == node)?;
    let first = zone.start_pfn.checked_add(SECTION_PAGES)?.checked_next_multiple_of(SECTION_PAGES)?;
    // Holes are taken to lie in the first part: firmware has its own there.
    Some(zone.start_pfn.checked_add(zone.spanned)?.saturating_sub(first).min(zone.present))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "Node 0, zone      DMA\n  per-node stats\n      nr_active 5\n  pages free     3840\n        \
                        spanned  4095\n        present  3998\n        managed  3840\n  start_pfn:           1\n\
                        Node 0, zone   Normal\n  pages free 1\n        spanned  786432\n        present  786432\n        \
                        managed  758202\n  start_pfn:           1048576\n\
                        Node 0, zone  Movable\n        spanned  0\n        present  0\n        managed  0\n\
                        Node 1, zone   Normal\n        spanned  20000\n        present  20000\n        managed  19000\n  \
                        start_pfn:           1835008\n";

    #[test]
    fn zones_with_pages_are_read_and_the_deferred_part_is_what_follows_the_first_section() {
        let zones = parse(TEXT.as_bytes());
        let read: Vec<_> = zones.iter().map(|zone| (zone.node, zone.name.as_str(), zone.managed)).collect();
        assert_eq!(read, [(0, "DMA", 3840), (0, "Normal", 758_202), (1, "Normal", 19_000)]);
        assert_eq!(deferred_pages(&zones, 0), Some(786_432 - 32_768));
        // Smaller than a section: nothing is left for later.
        assert_eq!((deferred_pages(&zones, 1), deferred_pages(&zones, 2)), (Some(0), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400), node in 0_u32..3) {
            let zones = parse(&bytes);
            prop_assert!(zones.iter().all(|zone| zone.present > 0));
            deferred_pages(&zones, node);
        }
    }
}
