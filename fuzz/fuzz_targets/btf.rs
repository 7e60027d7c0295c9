//! Any bytes as a kernel's BTF, with the catalogue's paths through it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler::btf::{
    Btf,
    walk::{Goal, compile, fetch_argument},
};
use profiler_report::catalogue::CATALOGUE;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes, ["device", "inode"]) else { return };
    for probe in &CATALOGUE.probes {
        let texts = probe.subject.texts.iter().map(|path| (path, Goal::Text));
        let numbers = probe.subject.numbers.iter().map(|path| (path, Goal::Number));
        for (path, goal) in texts.chain(numbers) {
            if let Ok(walk) = compile(path, goal, Some(&btf), Some(0)) {
                fetch_argument(path, &walk, goal);
            }
        }
    }
});
