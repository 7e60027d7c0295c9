//! Bytes of a recording, both ways; no I/O.
//!
//! ```text
//! file    = header frame*
//! header  = "BLACKOUT" version:u16 flags:u16(0) crc32(the 12 bytes before):u32
//! frame   = len:u32 crc32(len payload):u32 payload[len]
//! payload = zstd(side:u8 json_len:u32 json[json_len] blob[..])
//! ```
//!
//! All integers are little endian. The checksum covers the length too: a frame is either the one that
//! was written or not a frame.

use std::io::Read;

use super::frame::{Body, Frame, Side};

/// The format version this build writes, and the only one it reads.
pub const VERSION: u16 = 1;
/// Bytes of the file header.
pub const HEADER_BYTES: usize = 16;
/// Largest frame, compressed and decompressed, bytes. Anything larger is not decompressed.
pub const FRAME_LIMIT_BYTES: usize = 64 << 20;

const MAGIC: [u8; 8] = *b"BLACKOUT";
const FRAME_PREFIX_BYTES: usize = 8;
const LEVEL: i32 = 3;
/// log2 of the largest zstd window accepted: the frame limit.
const WINDOW_LOG_MAX: u32 = FRAME_LIMIT_BYTES.trailing_zeros();

/// Why a header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Foreign,
    Version(u16),
    Damaged,
}

/// A frame that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Over [`FRAME_LIMIT_BYTES`]: split the blob over several frames.
    #[error("a frame of {bytes} bytes is over the limit of {FRAME_LIMIT_BYTES}: split its blob")]
    TooLarge {
        /// Bytes before compression.
        bytes: usize,
    },
    /// The body has no JSON form.
    #[error("a frame's body cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The compressor failed.
    #[error("zstd: {0}")]
    Compress(#[from] std::io::Error),
}

/// What lies at an offset of a recording.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// A frame whose checksum holds.
    Whole { payload: &'a [u8], end: usize },
    /// A frame with a plausible length and a wrong checksum.
    Corrupt { end: usize },
    /// Not a whole frame up to the end of the file.
    Torn,
    /// The end of the file.
    End,
}

pub(super) fn encode_header() -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&0u16.to_le_bytes());
    let crc = crc32fast::hash(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

pub(super) fn check_header(file: &[u8]) -> Result<(), HeaderFault> {
    let header = file.get(..HEADER_BYTES).ok_or(HeaderFault::Foreign)?;
    let (fields, _) = header.split_at(HEADER_BYTES - 4);
    if fields.get(..8) != Some(MAGIC.as_slice()) {
        return Err(HeaderFault::Foreign);
    }
    if u32_at(header, HEADER_BYTES - 4) != Some(crc32fast::hash(fields)) {
        return Err(HeaderFault::Damaged);
    }
    match fields.get(8..10).map(|v| v.iter().rev().fold(0u16, |n, &b| n << 8 | u16::from(b))) {
        Some(VERSION) => Ok(()),
        Some(found) => Err(HeaderFault::Version(found)),
        None => Err(HeaderFault::Foreign),
    }
}

/// The frame as it stands in the file, prefix included.
///
/// # Errors
/// [`EncodeError`] where the frame is too large or cannot be serialized.
pub fn encode_frame(frame: &Frame) -> Result<Vec<u8>, EncodeError> {
    let json = serde_json::to_vec(&frame.body)?;
    let bytes = json.len().saturating_add(frame.blob.len()).saturating_add(5);
    let json_len = u32::try_from(json.len()).map_err(|_| EncodeError::TooLarge { bytes })?;
    if bytes > FRAME_LIMIT_BYTES {
        return Err(EncodeError::TooLarge { bytes });
    }
    let mut plain = Vec::with_capacity(bytes);
    plain.push(match frame.side {
        Side::Outgoing => 0,
        Side::Incoming => 1,
    });
    plain.extend_from_slice(&json_len.to_le_bytes());
    plain.extend_from_slice(&json);
    plain.extend_from_slice(&frame.blob);
    let payload = zstd::bulk::compress(&plain, LEVEL)?;
    // Noise grows a little when it is compressed.
    let len = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= FRAME_LIMIT_BYTES)
        .ok_or(EncodeError::TooLarge { bytes })?;
    let mut out = Vec::with_capacity(payload.len() + FRAME_PREFIX_BYTES);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(len, &payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(out)
}

/// Looks at `offset`; decompresses nothing.
pub(super) fn slot(file: &[u8], offset: usize) -> Slot<'_> {
    let Some(rest) = file.get(offset..).filter(|rest| !rest.is_empty()) else { return Slot::End };
    let (Some(len), Some(crc)) = (u32_at(rest, 0), u32_at(rest, 4)) else { return Slot::Torn };
    let payload = usize::try_from(len)
        .ok()
        .filter(|&len| len <= FRAME_LIMIT_BYTES)
        .and_then(|len| rest.get(FRAME_PREFIX_BYTES..)?.get(..len));
    let Some(payload) = payload else { return Slot::Torn };
    let end = offset + FRAME_PREFIX_BYTES + payload.len();
    if checksum(len, payload) == crc { Slot::Whole { payload, end } } else { Slot::Corrupt { end } }
}

/// Decodes a payload whose checksum holds; also says how many bytes it was decompressed to.
/// The error is a sentence for [`super::reader::Damage`].
pub(super) fn decode_payload(payload: &[u8], limit: usize) -> Result<(Frame, usize), String> {
    let limit = limit.min(FRAME_LIMIT_BYTES);
    let mut plain = Vec::new();
    let read = || -> std::io::Result<usize> {
        let mut decoder = zstd::stream::read::Decoder::new(payload)?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        decoder.take(limit as u64 + 1).read_to_end(&mut plain)
    }();
    let bytes = read.map_err(|error| format!("frame does not decompress: {error}"))?;
    if bytes > limit {
        return Err(format!("frame decompresses to more than {limit} bytes"));
    }
    let side = match plain.first() {
        Some(0) => Side::Outgoing,
        Some(1) => Side::Incoming,
        other => return Err(format!("frame of unknown side {other:?}")),
    };
    let json_len = u32_at(&plain, 1).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    let (json, blob) = plain
        .get(5..)
        .and_then(|rest| rest.split_at_checked(json_len))
        .ok_or("frame shorter than its body")?;
    let body: Body =
        serde_json::from_slice(json).map_err(|error| format!("frame body is not understood: {error}"))?;
    Ok((Frame { side, body, blob: blob.to_vec() }, bytes))
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_not_inflated() {
        let bomb = zstd::bulk::compress(&vec![0; FRAME_LIMIT_BYTES + 1], LEVEL).unwrap();
        assert!(bomb.len() < 100_000);
        let error = decode_payload(&bomb, usize::MAX).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }

    #[test]
    fn a_frame_over_the_limit_is_refused() {
        let frame = Frame { side: Side::Incoming, body: Body::Kmsg, blob: vec![0; FRAME_LIMIT_BYTES] };
        assert!(matches!(encode_frame(&frame), Err(EncodeError::TooLarge { .. })));
    }

    #[test]
    fn a_kind_from_the_future_is_unknown_not_an_error() {
        let json = br#"{"kind":"hologram","depth":3}"#;
        let mut plain = vec![1];
        plain.extend_from_slice(&u32::try_from(json.len()).unwrap().to_le_bytes());
        plain.extend_from_slice(json);
        let payload = zstd::bulk::compress(&plain, LEVEL).unwrap();
        let (frame, bytes) = decode_payload(&payload, usize::MAX).unwrap();
        assert_eq!(frame, Frame { side: Side::Incoming, body: Body::Unknown, blob: Vec::new() });
        assert_eq!(bytes, plain.len());
    }

    #[test]
    fn short_payloads_are_errors() {
        for plain in [&[][..], &[0], &[0, 255, 255, 255, 255], &[2, 0, 0, 0, 0], &[0, 1, 0, 0, 0, b'{']] {
            let payload = zstd::bulk::compress(plain, LEVEL).unwrap();
            assert!(decode_payload(&payload, usize::MAX).is_err(), "{plain:?}");
        }
        assert!(decode_payload(b"not zstd", usize::MAX).is_err());
    }
}
