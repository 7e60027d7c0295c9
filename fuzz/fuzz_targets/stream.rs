//! A stream of any bytes, in any pieces, up to what a reader makes of it.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use profiler_watch::{decode::Decoder, state::State};

fuzz_target!(|input: (usize, &[u8])| {
    let (piece, bytes) = input;
    let mut decoder = Decoder::default();
    let mut state = State::default();
    for (at, bytes) in (0..).zip(bytes.chunks(piece.clamp(1, 4096))) {
        for message in decoder.feed(bytes) {
            let line = message.line().expect("a message is JSON");
            assert!(!line.trim_end().chars().any(char::is_control));
            state.apply(message, Duration::from_millis(at));
        }
    }
    let _ = state.clock(Duration::from_secs(1));
    let _ = state.picture();
});
