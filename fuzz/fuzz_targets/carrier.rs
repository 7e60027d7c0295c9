//! Lines of a flight recorder and bodies for it: what is read must be written the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_mark::MarkLine;
use profiler_report::evidence::{
    carrier::{AnchorLine, assemble, chunks},
    mark::Mark,
};
use profiler_report::recording::Body;

fuzz_target!(|text: &str| {
    let _ = assemble(text.lines());
    if let Ok(body) = serde_json::from_str::<Body>(text) {
        let bodies = [body];
        let lines = chunks(&bodies).expect("a body that was JSON");
        assert_eq!(assemble(lines.iter().rev().map(String::as_str)).bodies, bodies);
    }
    for line in text.lines() {
        if let Some(anchor) = AnchorLine::parse(line) {
            assert_eq!(AnchorLine::parse(&anchor.to_string()), Some(anchor));
        }
        if let Some(mark) = Mark::parse(line) {
            let Mark { tsc, monotonic_ns, tsc_after, pid, vm, name } = &mark;
            let (tsc, monotonic_ns, tsc_after, pid) = (*tsc, *monotonic_ns, *tsc_after, *pid);
            let line = MarkLine { tsc, monotonic_ns, tsc_after, pid, vm: vm.as_deref(), name };
            assert_eq!(line.encode().and_then(|line| Mark::parse(&line)), Some(mark));
        }
    }
});
