//! A format file (up to the first NUL byte) and a page of records for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_report::evidence::format::{EventFormat, PageLayout};
use profiler_report::evidence::trace::{CpuPages, decode};
use profiler_report::recording::frame::TraceBuffer;

const HEADER_PAGE: &str = "field: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
field: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
field: char data;\toffset:16;\tsize:4080;\tsigned:0;
";

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |&b| b == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let blob = parts.next().unwrap_or_default();
    let _ = PageLayout::parse(&text);
    if let Ok(format) = EventFormat::parse(&text) {
        for field in &format.fields {
            let _ =
                (format.u64(blob, &field.name), format.i64(blob, &field.name), format.str(blob, &field.name));
        }
    }
    let buffer =
        TraceBuffer { header_page: HEADER_PAGE.to_owned(), formats: vec![text], ..TraceBuffer::default() };
    let pages = CpuPages { cpu: 0, page_size: 4096, blob };
    let _ = decode(&buffer, [pages]).map(|trace| assert!(trace.events.len() <= blob.len()));
});
