//! Deferred initialisation of `struct page`: one thread a NUMA node, all of them at once.

use super::{Call, Tasks};
use crate::{
    clock::Hz,
    evidence::{facts, zoneinfo},
    recording::Side,
    stitch::{Moment, Sighting, Source, What},
};

/// Name of such a call; its probe has the same.
pub const NODE: &str = "deferred-node";

/// What one node's thread did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInit {
    /// The node.
    pub node: u32,
    /// Pages whose structure it was left, if the zones are known.
    pub pages: Option<u64>,
    /// When it began.
    pub begin: Moment,
    /// That was seen, not computed from what it says.
    pub seen: bool,
    /// When it said that it is done.
    pub end: Moment,
    /// Its thread.
    pub pid: Option<u32>,
}

/// The nodes, by what each thread says at its end. It begins with the thread, where that was seen to be
/// made; else as long before as the line says, which the kernel counts in ticks of at most 10 ms.
pub fn nodes(sightings: &[Sighting], tasks: &Tasks, zones: &[zoneinfo::Zone], hz: Hz) -> Vec<NodeInit> {
    let node = |sighting: &Sighting| {
        let What::Log { text } = &sighting.what else { return None };
        let (node, ms) = facts::deferred_pages(text)?;
        let born = sighting.pid.and_then(|pid| tasks.born(Side::Incoming, pid)).map(|(_, at)| at);
        let counted = || Moment {
            ticks: sighting.at.ticks.saturating_sub(hz.ticks(ms.saturating_mul(1_000_000))),
            error_ticks: sighting.at.error_ticks.saturating_add(hz.ticks(10_000_000)),
        };
        Some(NodeInit {
            node,
            pages: zoneinfo::deferred_pages(zones, node),
            begin: born.unwrap_or_else(counted),
            seen: born.is_some(),
            end: sighting.at,
            pid: sighting.pid,
        })
    };
    let incoming = sightings.iter().filter(|sighting| sighting.side == Side::Incoming);
    incoming.filter_map(node).collect()
}

impl From<&NodeInit> for Call {
    fn from(node: &NodeInit) -> Self {
        let pages = node.pages.map(|pages| format!(", {pages} pages")).unwrap_or_default();
        Self {
            side: Side::Incoming,
            name: NODE.to_owned(),
            kind: "deferred-pages".to_owned(),
            subject: format!("node {}{pages}", node.node),
            enter: node.begin,
            exit: Some(node.end),
            cpu: None,
            pid: node.pid,
            comm: node.pid.map(|_| format!("pgdatinit{}", node.node)),
            retval: None,
            source: Source::Event,
            carried: None,
            critical: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::event::Event,
        timeline::testing::{event, log},
    };

    #[test]
    fn a_node_begins_with_its_thread_or_as_long_ago_as_it_says() {
        let seen = [
            event(1_000, 2, Event::Fork { child: 30 }),
            log(20_000_000, Some(30), "node 0 deferred pages initialised in 12ms"),
            log(30_000_000, None, "node 1 deferred pages initialised in 20ms"),
        ];
        let zone = |node| zoneinfo::Zone {
            node,
            start_pfn: 1 << 20,
            spanned: 1 << 18,
            present: 1 << 18,
            ..zoneinfo::Zone::default()
        };
        let hz = Hz::new(1_000_000_000).unwrap();
        let nodes = nodes(&seen, &Tasks::new(&seen), &[zone(0)], hz);
        let read: Vec<_> = nodes.iter().map(|node| (node.node, node.pages, node.begin.ticks)).collect();
        assert_eq!(read, [(0, Some((1 << 18) - (1 << 15)), 1_000), (1, None, 10_000_000)]);
        assert_eq!(Call::from(&nodes[0]).subject, "node 0, 229376 pages");
        assert_eq!(Call::from(&nodes[1]).subject, "node 1");
    }
}
