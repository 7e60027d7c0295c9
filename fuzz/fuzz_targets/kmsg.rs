//! A kernel log of any bytes, with the facts and probe records its lines could be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_report::evidence::facts::facts;
use profiler_report::evidence::kmsg;
use profiler_report::evidence::probe_record::ProbeRecord;

fuzz_target!(|bytes: &[u8]| {
    let log = kmsg::parse(bytes);
    for line in &log.lines {
        assert!(!line.text.chars().any(char::is_control));
        let _ = ProbeRecord::parse(&line.text);
    }
    assert!(facts(&log.lines).count() <= log.lines.len());
});
