//! What `blackout arm` and VMMs write into the flight recorder with `trace_marker`, and how it is read.
//!
//! Everything is one line with the prefix `blackout:` and a letter; descriptions are printable ASCII:
//!
//! ```text
//! blackout:D:FRAME/FRAMES:CRC:I/N:CHUNK        part I of N of a frame's body, JSON
//! blackout:A:BURST:SEQ:BEFORE:PREVIOUS[:MULT:SHIFT:ZERO]   clock anchor
//! blackout:C:BEFORE:MONOTONIC:AFTER            CLOCK_MONOTONIC between two TSC readings
//! blackout:M:{...}                             a VMM's mark (see [`super::mark`])
//! blackout:S:LOST                              records that the live stream missed so far
//! ```
//! TSC values and the CRC-32 (of the frame's whole JSON) are hexadecimal, all other numbers decimal.
//! The CRC keeps the frames of two armings that share a ring apart, and tells a damaged one.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use super::text::ascii_json;
use crate::recording::frame::{Body, Scale};

/// Bytes of JSON in one line. With the header a line stays far below a sub-buffer page.
const CHUNK_BYTES: usize = 900;
/// Chunks of one frame.
const MAX_CHUNKS: usize = 4096;
/// Frames of one description.
const MAX_FRAMES: usize = 256;

const DESCRIPTION: &str = "blackout:D:";
const ANCHOR: &str = "blackout:A:";
const MONOTONIC: &str = "blackout:C:";
const STREAMED: &str = "blackout:S:";

/// Why a description cannot be carried.
#[derive(Debug, Error)]
pub enum CarrierError {
    /// More frames than readers take.
    #[error("a flight recorder carries {MAX_FRAMES} description frames, not {0}")]
    TooManyFrames(usize),
    /// A frame that is too large.
    #[error("description frame {frame} has {bytes} bytes; a flight recorder carries {}", CHUNK_BYTES * MAX_CHUNKS)]
    TooLarge {
        /// Its index.
        frame: usize,
        /// Its size as JSON, bytes.
        bytes: usize,
    },
    /// A body that is not JSON.
    #[error("cannot write description frame {frame} as JSON")]
    Json {
        /// Its index.
        frame: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Cuts bodies into lines for `trace_marker`, each to be written with one `write(2)`.
///
/// # Errors
/// If there are more, or larger, frames than [`assemble`] takes.
pub fn chunks(bodies: &[Body]) -> Result<Vec<String>, CarrierError> {
    if bodies.len() > MAX_FRAMES {
        return Err(CarrierError::TooManyFrames(bodies.len()));
    }
    let mut lines = Vec::new();
    for (frame, body) in bodies.iter().enumerate() {
        let json = serde_json::to_string(body).map_err(|source| CarrierError::Json { frame, source })?;
        let json = ascii_json(&json);
        let crc = crc32fast::hash(json.as_bytes());
        let parts = json.as_bytes().chunks(CHUNK_BYTES);
        let count = parts.len();
        if count > MAX_CHUNKS {
            return Err(CarrierError::TooLarge { frame, bytes: json.len() });
        }
        lines.extend(parts.enumerate().map(|(index, part)| {
            let part = String::from_utf8_lossy(part);
            format!("{DESCRIPTION}{frame}/{}:{crc:08x}:{index}/{count}:{part}", bodies.len())
        }));
    }
    Ok(lines)
}

/// What came out of a flight recorder's lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assembled {
    /// The bodies that are whole, in the order they were given to [`chunks`].
    pub bodies: Vec<Body>,
    /// Indices of frames that are not whole, or of which nothing is left.
    pub missing: Vec<usize>,
    /// Lines with our prefix that do not read as a chunk.
    pub malformed: u64,
}

/// Puts bodies together again from the lines of a trace, which may hold anything else as well.
///
/// Lines may come in any order, more than once, or not at all. If a frame is there in several
/// versions (the recorder was armed twice), the last whole one counts.
pub fn assemble<'a>(lines: impl IntoIterator<Item = &'a str>) -> Assembled {
    let mut out = Assembled::default();
    let mut versions: BTreeMap<Version, Chunks<'a>> = BTreeMap::new();
    for (at, line) in lines.into_iter().enumerate() {
        let Some(rest) = line.strip_prefix(DESCRIPTION) else { continue };
        let Some((version, index, text)) = chunk(rest) else {
            out.malformed += 1;
            continue;
        };
        let chunks = versions.entry(version).or_default();
        chunks.last_at = at;
        chunks.parts.insert(index, text);
    }

    let frames = versions.keys().map(|version| version.frames).max().unwrap_or(0);
    let mut whole: BTreeMap<usize, (usize, Body)> = BTreeMap::new();
    for (version, chunks) in versions {
        let Some(body) = chunks.body(&version) else { continue };
        if whole.get(&version.frame).is_none_or(|(last_at, _)| *last_at < chunks.last_at) {
            whole.insert(version.frame, (chunks.last_at, body));
        }
    }
    out.missing = (0..frames).filter(|frame| !whole.contains_key(frame)).collect();
    out.bodies = whole.into_values().map(|(_, body)| body).collect();
    out
}

/// One version of one frame.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    frame: usize,
    frames: usize,
    crc: u32,
    count: usize,
}

#[derive(Default)]
struct Chunks<'a> {
    parts: BTreeMap<usize, &'a str>,
    last_at: usize,
}

impl Chunks<'_> {
    fn body(&self, version: &Version) -> Option<Body> {
        if self.parts.len() != version.count {
            return None;
        }
        let json: String = self.parts.values().copied().collect();
        (crc32fast::hash(json.as_bytes()) == version.crc).then(|| serde_json::from_str(&json).ok()).flatten()
    }
}

fn chunk(rest: &str) -> Option<(Version, usize, &str)> {
    let mut fields = rest.splitn(4, ':');
    let (frame, frames) = of(fields.next()?, MAX_FRAMES)?;
    let crc = u32::from_str_radix(fields.next()?, 16).ok()?;
    let (index, count) = of(fields.next()?, MAX_CHUNKS)?;
    let text = fields.next().filter(|text| text.len() <= CHUNK_BYTES)?;
    Some((Version { frame, frames, crc, count }, index, text))
}

/// Reads `I/N` with `I < N <= max`.
fn of(text: &str, max: usize) -> Option<(usize, usize)> {
    let (index, count) = text.split_once('/')?;
    let (index, count) = (index.parse().ok()?, count.parse().ok()?);
    (index < count && count <= max).then_some((index, count))
}

/// The line by which `blackout serve` tells how many records its readers could not have.
pub fn streamed_line(lost: u64) -> String {
    format!("{STREAMED}{lost}")
}

/// The last such count among the lines of a trace; `None` if nothing was streamed.
pub(crate) fn streamed_lost<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<u64> {
    lines.into_iter().filter_map(|line| line.strip_prefix(STREAMED)?.parse().ok()).last()
}

/// A clock anchor: the TSC around a `trace_marker` write whose record time is the ring's clock.
///
/// A writer cannot put the TSC after a write into that write, so the next one of the same burst has
/// it: the record of `seq` was made between its own `tsc_before` and `previous_tsc_after` of `seq + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorLine {
    /// Which burst of anchors it belongs to.
    pub burst: u32,
    /// Place in the burst, from 0.
    pub seq: u32,
    /// TSC right before this write, ticks.
    pub tsc_before: u64,
    /// TSC right after the write before this one, ticks; 0 in the first of a burst.
    pub previous_tsc_after: u64,
    /// The kernel's own scale at that moment, if it gives one.
    pub scale: Option<Scale>,
}

impl AnchorLine {
    /// Reads a line of a trace; `None` if it is not an anchor.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(ANCHOR)?.split(':');
        let burst = fields.next()?.parse().ok()?;
        let seq = fields.next()?.parse().ok()?;
        let tsc_before = hex(fields.next()?)?;
        let previous_tsc_after = hex(fields.next()?)?;
        let scale = match fields.next() {
            None => None,
            Some(mult) => Some(Scale {
                mult: mult.parse().ok()?,
                shift: fields.next()?.parse().ok()?,
                zero_ns: fields.next()?.parse().ok()?,
            }),
        };
        fields.next().is_none().then_some(Self { burst, seq, tsc_before, previous_tsc_after, scale })
    }
}

impl fmt::Display for AnchorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { burst, seq, tsc_before, previous_tsc_after, scale } = self;
        write!(f, "{ANCHOR}{burst}:{seq}:{tsc_before:x}:{previous_tsc_after:x}")?;
        match scale {
            None => Ok(()),
            Some(Scale { mult, shift, zero_ns }) => write!(f, ":{mult}:{shift}:{zero_ns}"),
        }
    }
}

/// A reading of `CLOCK_MONOTONIC`, which is all that eBPF programs have, between two of the TSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonotonicLine {
    /// TSC before it, ticks.
    pub before: u64,
    /// The clock, nanoseconds.
    pub monotonic_ns: u64,
    /// TSC after it, ticks.
    pub after: u64,
}

impl MonotonicLine {
    /// Reads a line of a trace; `None` if it is not such a reading.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(MONOTONIC)?.split(':');
        let mut next = || hex(fields.next()?);
        let reading = Self { before: next()?, monotonic_ns: next()?, after: next()? };
        fields.next().is_none().then_some(reading)
    }
}

impl fmt::Display for MonotonicLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, monotonic_ns, after } = self;
        write!(f, "{MONOTONIC}{before:x}:{monotonic_ns:x}:{after:x}")
    }
}

fn hex(text: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    (!text.starts_with('+')).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
#[path = "carrier_tests.rs"]
mod tests;
