use proptest::prelude::*;

use super::super::codec::{encode_frame, encode_header};
use super::super::frame::{Run, Side};
use super::*;

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let body = prop_oneof![
        ".{0,20}".prop_map(|text| Body::Note { text }),
        ("[0-9a-f]{16}", any::<u64>()).prop_map(|(id, recorded_at_ns)| Body::Run(Run {
            id,
            recorded_at_ns,
            tool: "t".into()
        })),
        (any::<u32>(), any::<u32>()).prop_map(|(cpu, page_size)| Body::TracePages {
            buffer: "flight".into(),
            cpu,
            page_size
        }),
        Just(Body::Kmsg),
        Just(Body::End),
    ];
    let side = prop_oneof![Just(Side::Outgoing), Just(Side::Incoming)];
    let frame = (side, body, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(side, body, blob)| Frame { side, body, blob });
    prop::collection::vec(frame, 0..6)
}

/// The file, and where each frame ends in it.
fn file(frames: &[Frame]) -> (Vec<u8>, Vec<usize>) {
    let mut file = encode_header();
    let ends = frames
        .iter()
        .map(|frame| {
            file.extend(encode_frame(frame).unwrap());
            file.len()
        })
        .collect();
    (file, ends)
}

proptest! {
    #[test]
    fn round_trip(frames in frames()) {
        let recording = read(&file(&frames).0).unwrap();
        prop_assert_eq!(recording, Recording { frames, damage: Vec::new() });
    }

    #[test]
    fn a_cut_anywhere_gives_the_whole_frames_before_it(frames in frames()) {
        let (file, ends) = file(&frames);
        for cut in 0..file.len() {
            match read(&file[..cut]) {
                Err(error) => {
                    prop_assert!(cut < HEADER_BYTES);
                    prop_assert_eq!(error, ReadError::NotARecording);
                }
                Ok(recording) => {
                    let whole = ends.iter().filter(|&&end| end <= cut).count();
                    prop_assert_eq!(&recording.frames[..], &frames[..whole]);
                    let clean = cut == HEADER_BYTES || ends.contains(&cut);
                    prop_assert_eq!(recording.damage.is_empty(), clean);
                }
            }
        }
    }

    #[test]
    fn flipped_bits_never_invent_a_frame(
        frames in frames(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..6),
    ) {
        let (mut bytes, _) = file(&frames);
        let sound = bytes.clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(recording) = read(&bytes) {
            prop_assert!(recording.frames.iter().all(|frame| frames.contains(frame)));
            if bytes != sound {
                prop_assert!(!recording.damage.is_empty());
            }
        } else {
            prop_assert_ne!(&bytes[..HEADER_BYTES], &sound[..HEADER_BYTES]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = encode_header();
        bytes.extend(&tail);
        let recording = read(&bytes).unwrap();
        prop_assert_eq!(recording.frames.len(), 0);
        prop_assert_eq!(recording.damage.is_empty(), tail.is_empty());
    }
}

#[test]
fn a_corrupt_frame_in_the_middle_costs_only_itself() {
    let frame =
        |text: &str| Frame { side: Side::Outgoing, body: Body::Note { text: text.into() }, blob: Vec::new() };
    let (mut bytes, ends) = file(&[frame("one"), frame("two"), frame("three")]);
    bytes[ends[0] + 12] ^= 0x40;
    let recording = read(&bytes).unwrap();
    assert_eq!(recording.frames, [frame("one"), frame("three")]);
    assert_eq!(recording.damage[0].offset, ends[0]);
    assert!(recording.damage[0].what.contains("checksum"));
}

#[test]
fn other_versions_and_other_files_are_named() {
    let mut bytes = encode_header();
    bytes[8] = 2;
    assert_eq!(read(&bytes), Err(ReadError::Header));
    let crc = crc32fast::hash(&bytes[..12]).to_le_bytes();
    bytes[12..].copy_from_slice(&crc);
    assert_eq!(read(&bytes), Err(ReadError::Version { found: 2, supported: 1 }));
    assert_eq!(read(b"\x7fELF and so on, long enough"), Err(ReadError::NotARecording));
    assert_eq!(read(b""), Err(ReadError::NotARecording));
}
