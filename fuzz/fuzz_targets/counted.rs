//! Any lines as what the programs wrote of calls that they counted, and of their own cost.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_common::{cost::CostRecord, hot::HotRecord, hot::middle};
use profiler_report::stitch::counted::{cost, counted, lost};

fuzz_target!(|text: &str| {
    let hot: Vec<_> = text.lines().filter_map(HotRecord::parse).collect();
    if let Some((counted, _)) = counted(&hot) {
        assert!(counted.shares.len() <= hot.len());
        for (bucket, _) in counted.shares.iter().flat_map(|share| &share.buckets) {
            let _ = middle((*bucket).into());
        }
        let _ = lost(&counted);
    }
    let costs: Vec<_> = text.lines().filter_map(CostRecord::parse).collect();
    assert!(cost(&costs).calls.is_some() <= !costs.is_empty());
});
