use super::*;
use crate::evidence::text::scrub;
use crate::recording::frame::{Run, TraceBuffer};
use proptest::prelude::*;

fn note(text: &str) -> Body {
    Body::Note { text: text.into() }
}

fn bodies() -> Vec<Body> {
    vec![
        Body::Run(Run { id: "00ff".into(), recorded_at_ns: 7, tool: "blackout".into() }),
        Body::TraceBuffer(TraceBuffer {
            header_page: "\tfield: u64 timestamp;\n".repeat(100),
            formats: vec!["name: pr\u{fc}fung \u{1f600}\x1b\x7f\n".repeat(200)],
            ..TraceBuffer::default()
        }),
        Body::End,
    ]
}

#[test]
fn lines_are_short_printable_and_complete() {
    let lines = chunks(&bodies()).unwrap();
    assert!(lines.len() > 5);
    for line in &lines {
        assert!(line.len() < 960 && line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        assert_eq!(scrub(line.as_bytes(), 4096), *line, "scrubbing a trace leaves it alone");
    }
    let back = assemble(lines.iter().map(String::as_str));
    assert_eq!(back, Assembled { bodies: bodies(), ..Assembled::default() });
}

#[test]
fn a_lost_line_costs_one_frame() {
    let lines = chunks(&bodies()).unwrap();
    let lost = assemble(lines.iter().map(String::as_str).filter(|line| !line.contains(":1/")));
    assert_eq!((lost.bodies.len(), lost.missing), (2, vec![1]));
    // Of frames 1 and 2 nothing is left, and they are missed all the same.
    let lost = assemble(lines.iter().map(String::as_str).take(1));
    assert_eq!((lost.bodies.len(), lost.missing), (1, vec![1, 2]));
}

#[test]
fn the_last_arming_counts() {
    let first = chunks(&[note("first"), Body::End]).unwrap();
    let second = chunks(&[note("second, longer"), Body::End]).unwrap();
    let both = first.iter().chain(&second).map(String::as_str);
    assert_eq!(assemble(both).bodies, [note("second, longer"), Body::End]);
}

#[test]
fn a_changed_line_is_not_believed() {
    let lines = chunks(&[note("a window of 7 ms")]).unwrap();
    let changed = lines[0].replace("7 ms", "9 ms");
    assert_eq!(assemble([changed.as_str()]).missing, [0]);
    let broken =
        ["blackout:D:", "blackout:D:0/300:0:0/1:x", "blackout:D:1/1:0:0/1:x", "blackout:D:0/1:0:0/9999:x"];
    assert_eq!(assemble(broken).malformed, 4);
    assert_eq!(assemble(["hello", "blackout:M:1:x"]), Assembled::default());
}

#[test]
fn refuses_what_a_reader_would_not_take() {
    let many = vec![Body::End; MAX_FRAMES + 1];
    assert!(matches!(chunks(&many), Err(CarrierError::TooManyFrames(257))));
    let large = note(&"x".repeat(CHUNK_BYTES * MAX_CHUNKS));
    assert!(matches!(chunks(&[large]), Err(CarrierError::TooLarge { frame: 0, .. })));
}

#[test]
fn anchors_read_only_in_full() {
    let line = "blackout:A:1:2:ff:f0:2147483648:31:12345";
    let scale = Some(Scale { mult: 1 << 31, shift: 31, zero_ns: 12345 });
    let anchor = AnchorLine { burst: 1, seq: 2, tsc_before: 255, previous_tsc_after: 240, scale };
    assert_eq!(AnchorLine::parse(line), Some(anchor));
    for line in
        ["blackout:A:1:2:ff", "blackout:A:1:2:ff:f0:1", "blackout:A:1:2:ff:f0:1:2:3:4", "blackout:A:1:2:xx:0"]
    {
        assert_eq!(AnchorLine::parse(line), None, "{line}");
    }
}

proptest! {
    #[test]
    fn bodies_survive_shuffles_and_drops(
        texts in proptest::collection::vec(".{0,2000}", 1..6),
        order in any::<u64>(),
        dropped in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let bodies: Vec<_> = texts.iter().map(|text| note(text)).collect();
        let mut lines = chunks(&bodies).unwrap();
        let lost = dropped.map(|index| lines.remove(index.index(lines.len())));
        lines.extend(lines.clone());
        lines.sort_by_key(|line| crc32fast::hash(line.as_bytes()) ^ order as u32);
        let back = assemble(lines.iter().map(String::as_str));
        prop_assert_eq!(back.malformed, 0);
        let lost = lost.and_then(|line| line.split([':', '/']).nth(2)?.parse::<usize>().ok());
        // The only line of the only frame leaves no trace at all.
        if lines.is_empty() {
            prop_assert_eq!(back, Assembled::default());
        } else {
            prop_assert_eq!(back.missing, Vec::from_iter(lost));
            let kept: Vec<_> = (0..bodies.len()).filter(|i| Some(*i) != lost).map(|i| bodies[i].clone()).collect();
            prop_assert_eq!(back.bodies, kept);
        }
    }

    #[test]
    fn anchors_round_trip(burst: u32, seq: u32, tsc_before: u64, previous_tsc_after: u64, scale: Option<(u32, u16, u64)>) {
        let scale = scale.map(|(mult, shift, zero_ns)| Scale { mult, shift, zero_ns });
        let anchor = AnchorLine { burst, seq, tsc_before, previous_tsc_after, scale };
        prop_assert_eq!(AnchorLine::parse(&anchor.to_string()), Some(anchor));
    }

    #[test]
    fn monotonic_readings_round_trip(before: u64, monotonic_ns: u64, after: u64) {
        let reading = MonotonicLine { before, monotonic_ns, after };
        prop_assert_eq!(MonotonicLine::parse(&reading.to_string()), Some(reading));
        prop_assert_eq!(MonotonicLine::parse(&format!("{reading}:0")), None);
    }

    #[test]
    fn any_line_is_a_value_or_nothing(line: String) {
        for line in [line.clone(), format!("{DESCRIPTION}{line}"), format!("{ANCHOR}{line}"), format!("{MONOTONIC}{line}")] {
            let _ = (AnchorLine::parse(&line), MonotonicLine::parse(&line), assemble([line.as_str()]));
        }
    }
}

#[test]
fn the_last_count_of_the_stream_holds() {
    let lines = [streamed_line(0), "blackout:S:x".to_owned(), streamed_line(7), "other".to_owned()];
    assert_eq!(streamed_lost(lines.iter().map(String::as_str)), Some(7));
    assert_eq!(streamed_lost(["other"]), None);
}
