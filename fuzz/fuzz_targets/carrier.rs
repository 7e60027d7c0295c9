//! Lines of a flight recorder: any that are read must be written the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler::evidence::carrier::{AnchorLine, Mark, assemble, chunks};

fuzz_target!(|text: &str| {
    let found = assemble(text.lines());
    if let Ok(lines) = chunks(&found.bodies) {
        let again = assemble(lines.iter().map(String::as_str));
        assert_eq!(again.bodies.len(), found.bodies.len());
        assert!(again.missing.is_empty());
    }
    for line in text.lines() {
        if let Some(anchor) = AnchorLine::parse(line) {
            assert_eq!(AnchorLine::parse(&anchor.to_string()), Some(anchor));
        }
        if let Some(mark) = Mark::parse(line) {
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
    }
});
