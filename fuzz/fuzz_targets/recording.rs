//! A recording: the bytes as a file, and as the payload of one frame whose checksum holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_report::recording::codec::encode_frame;
use profiler_report::recording::reader::read;

fuzz_target!(|bytes: &[u8]| {
    let _ = read(bytes);

    let mut file = b"BLACKOUT\x01\0\0\0".to_vec();
    file.extend(crc32fast::hash(&file).to_le_bytes());
    let header = file.len();
    let len = (bytes.len() as u32).to_le_bytes();
    file.extend(len);
    file.extend(crc32fast::hash(&[&len, bytes].concat()).to_le_bytes());
    file.extend(bytes);
    let found = read(&file).expect("the header is sound");
    assert_eq!(found.frames.len() + found.damage.len(), 1);

    file.truncate(header);
    for frame in &found.frames {
        file.extend(encode_frame(frame).expect("a frame that was read"));
    }
    assert_eq!(read(&file).expect("the header is sound").frames, found.frames);
});
