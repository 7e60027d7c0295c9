//! What was counted where it ran, and what the programs took: out of the flight recorder, or as user space read it.

use std::collections::BTreeMap;

use profiler_common::{
    cost::{self, CostRecord},
    hot::HotRecord,
};

use crate::recording::frame::{Counted, Share};

/// What the programs of one kernel took, as they measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Runs of those that write records, and their time, nanoseconds.
    pub calls: Option<(u64, u64)>,
    /// Of those that count: runs that were timed, and their time, nanoseconds.
    pub hot: Option<(u64, u64)>,
}

/// Puts together what the outgoing kernel wrote: the shares, and how many of them are missing. `None` if it was not
/// written to its end.
pub fn counted(records: &[HotRecord]) -> Option<(Counted, u64)> {
    let mut shares = BTreeMap::new();
    for record in records {
        if let HotRecord::Share { ip, at, count, total_ns, min_ns, max_ns, .. } = *record {
            let buckets = Vec::new();
            let share = Share { ip, epoch: at.epoch, cpu: at.cpu, count, total_ns, min_ns, max_ns, buckets };
            shares.insert((ip, at), share);
        }
    }
    for record in records {
        if let HotRecord::Buckets { ip, at, buckets, .. } = record
            && let Some(share) = shares.get_mut(&(*ip, *at))
        {
            share.buckets.extend(buckets.iter().filter(|(_, calls)| *calls > 0));
        }
    }
    records.iter().find_map(|record| match *record {
        HotRecord::Written { shares: written, unpaired, .. } => {
            let missing = written.saturating_sub(shares.len() as u64);
            let shares = shares.values().cloned().collect();
            Some((Counted { shares, unpaired, ..Counted::default() }, missing))
        }
        _ => None,
    })
}

/// What the outgoing kernel's programs took.
pub fn cost(records: &[CostRecord]) -> Cost {
    let of = |kind| records.iter().find(|record| record.kind == kind);
    Cost {
        calls: of(cost::CALLS).map(|record| (record.runs, record.ns)),
        hot: of(cost::HOT).map(|record| (record.samples, record.ns)),
    }
}

/// Calls whose durations are missing, and returns that were in no share.
pub fn lost(counted: &Counted) -> u64 {
    let missing = |share: &Share| {
        let known = share.buckets.iter().fold(0_u64, |sum, (_, calls)| sum.saturating_add(*calls));
        share.count.saturating_sub(known)
    };
    counted.shares.iter().map(missing).fold(counted.unpaired, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::hot::{WORDS, Where};

    const AT: Where = Where { epoch: 1, cpu: 2 };

    fn share(count: u64) -> HotRecord {
        HotRecord::Share { seq: 0, ip: 16, at: AT, count, total_ns: 90, min_ns: 10, max_ns: 50 }
    }

    fn buckets(cpu: u32, some: [(u16, u64); 2]) -> HotRecord {
        let mut buckets = [(0, 0); WORDS];
        buckets[..2].copy_from_slice(&some);
        HotRecord::Buckets { seq: 0, ip: 16, at: Where { cpu, ..AT }, buckets }
    }

    #[test]
    fn shares_come_together_and_what_is_missing_is_counted() {
        let end = HotRecord::Written { seq: 0, shares: 2, unpaired: 3 };
        let records = [share(4), buckets(2, [(10, 2), (50, 1)]), buckets(9, [(1, 1), (2, 2)]), end];
        let (counted, missing) = counted(&records).unwrap();
        assert_eq!((counted.shares.len(), missing), (1, 1));
        assert_eq!(counted.shares[0].buckets, [(10, 2), (50, 1)]);
        // One call's duration, and three returns.
        assert_eq!(lost(&counted), 4);
        assert_eq!(super::counted(&records[..3]), None);
    }

    #[test]
    fn costs_are_told_apart_by_their_kind() {
        let record = |kind, runs, samples| CostRecord { seq: 0, kind, runs, samples, ns: 7 };
        let cost = cost(&[record(cost::HOT, 0, 5), record(cost::CALLS, 9, 9)]);
        assert_eq!(cost, Cost { calls: Some((9, 7)), hot: Some((5, 7)) });
        assert_eq!(super::cost(&[]), Cost::default());
    }
}
