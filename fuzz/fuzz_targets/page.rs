//! Ring-buffer pages of any bytes: records lie inside the page, and damage comes last.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_report::evidence::format::PageLayout;
use profiler_report::evidence::page::Page;

const LAYOUT: PageLayout =
    PageLayout { timestamp_offset: 0, commit_offset: 8, commit_size: 8, data_offset: 16, data_size: 4080 };

fuzz_target!(|bytes: &[u8]| {
    let Ok(page) = Page::parse(bytes, &LAYOUT) else { return };
    let (mut total, mut damaged) = (0, false);
    for record in page.records() {
        assert!(!damaged, "nothing follows damage");
        match record {
            Ok(record) => total += 4 + record.data.len(),
            Err(_) => damaged = true,
        }
    }
    assert!(total <= bytes.len(), "records do not overlap");
});
