//! Sub-buffer pages of the ftrace ring buffer, as read from `per_cpu/cpuN/trace_pipe_raw`.
//!
//! A page is a time stamp, a commit word (bytes of data, with flags) and a run of events. An event
//! begins with a word of 5 bits `type_len` and 27 bits `time_delta` (include/linux/ring_buffer.h,
//! kernel/trace/ring_buffer.c, Linux 7.3).

use thiserror::Error;

use super::bytes::unsigned;
use super::format::PageLayout;

/// Highest `type_len` of a data event (`RINGBUF_TYPE_DATA_TYPE_LEN_MAX`).
const DATA_MAX: u32 = 28;
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
/// `RB_MISSED_EVENTS`: events before this page were overwritten.
const MISSED_EVENTS: u64 = 1 << 31;
/// `RB_MISSED_STORED`: their number follows the data.
const MISSED_STORED: u64 = 1 << 30;
/// `TS_MSB`: the bits an absolute time stamp has no room for.
const STAMP_MSB: u64 = 0xf8 << 56;

/// Events lost before a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// None.
    None,
    /// This many.
    Known(u64),
    /// Some; the kernel had no room to say, or found a page invalid at boot.
    Unknown,
}

/// What is wrong with a page; the records before it are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// Not even a header.
    #[error("page of {len} bytes is shorter than its header")]
    ShortPage {
        /// Bytes there are.
        len: usize,
    },
    /// The commit word claims more data than there is.
    #[error("page claims {commit} bytes of events and has room for {room}")]
    Commit {
        /// Bytes claimed.
        commit: usize,
        /// Bytes there are.
        room: usize,
    },
    /// An event does not fit in what is left of the page.
    #[error("event at byte {at} of a page's data has an impossible length of {len} bytes")]
    Length {
        /// Bytes from the start of the page's data.
        at: usize,
        /// Its length, bytes, by its own account.
        len: u64,
    },
}

/// One record: an event's data with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Time, ticks of the buffer's clock.
    pub ts: u64,
    /// The record; begins with `common_type`, may end in up to 7 bytes of padding.
    pub data: &'a [u8],
}

/// One sub-buffer page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Time the page begins with, ticks of the buffer's clock.
    pub timestamp: u64,
    /// Events lost before it.
    pub missed: Missed,
    data: &'a [u8],
    damage: Option<Damage>,
}

impl<'a> Page<'a> {
    /// Reads a page's header. A page cut short is taken as far as it goes, and says so at the end of
    /// [`Page::records`].
    pub fn parse(page: &'a [u8], layout: &PageLayout) -> Result<Self, Damage> {
        let short = Damage::ShortPage { len: page.len() };
        let room = page.get(layout.data_offset..).ok_or(short)?;
        let timestamp = unsigned(page, layout.timestamp_offset, 8).ok_or(short)?;
        // The flags are stored sign-extended; only the low 30 bits are a length.
        let word = unsigned(page, layout.commit_offset, layout.commit_size).ok_or(short)?;
        let commit = (word & (MISSED_STORED - 1)) as usize;
        let missed = if word & MISSED_EVENTS == 0 {
            Missed::None
        } else if word & MISSED_STORED == 0 {
            Missed::Unknown
        } else {
            unsigned(room, commit, layout.commit_size).map_or(Missed::Unknown, Missed::Known)
        };
        let (data, damage) = match room.get(..commit) {
            Some(data) => (data, None),
            None => (room, Some(Damage::Commit { commit, room: room.len() })),
        };
        Ok(Self { timestamp, missed, data, damage })
    }

    /// The records in order; an `Err` comes last and says why the rest cannot be read.
    pub fn records(&self) -> Records<'a> {
        Records { data: self.data, at: 0, ts: self.timestamp, damage: self.damage }
    }
}

/// Iterator over a page's records; see [`Page::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    data: &'a [u8],
    at: usize,
    ts: u64,
    damage: Option<Damage>,
}

/// One event of the ring buffer; `len` is all of it, bytes.
enum Event<'a> {
    Data {
        delta: u64,
        data: &'a [u8],
        len: usize,
    },
    Discarded {
        delta: u64,
        len: usize,
    },
    Extend {
        delta: u64,
    },
    Stamp {
        ts: u64,
    },
    /// Null padding: nothing follows in this page.
    Rest,
}

const TIME_EVENT_BYTES: usize = 8;

impl<'a> Records<'a> {
    fn event(&self) -> Result<Event<'a>, Damage> {
        let left = self.data.get(self.at..).unwrap_or_default();
        let fail = |len: u64| Damage::Length { at: self.at, len };
        let word = |index: usize| unsigned(left, index * 4, 4).ok_or(fail((index as u64 + 1) * 4));
        let header = word(0)?;
        let (type_len, delta) = ((header & 31) as u32, header >> 5);
        // `array[0]` counts from itself on; the kernel pads every event to 4 bytes.
        let explicit = || {
            let len = word(1)? + 4;
            let fits = len >= 8 && len.is_multiple_of(4) && len <= left.len() as u64;
            if fits { Ok(len as usize) } else { Err(fail(len)) }
        };
        match type_len {
            0 => {
                let len = explicit()?;
                Ok(Event::Data { delta, data: left.get(8..len).unwrap_or_default(), len })
            }
            1..=DATA_MAX => {
                let len = type_len as usize * 4 + 4;
                let data = left.get(4..len).ok_or(fail(len as u64))?;
                Ok(Event::Data { delta, data, len })
            }
            PADDING if delta == 0 => Ok(Event::Rest),
            PADDING => Ok(Event::Discarded { delta, len: explicit()? }),
            TIME_EXTEND => Ok(Event::Extend { delta: (word(1)? << 27) | delta }),
            _ => Ok(Event::Stamp { ts: (word(1)? << 27) | delta }),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RawRecord<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.data.len() {
            let event = match self.event() {
                Ok(event) => event,
                Err(damage) => {
                    self.at = self.data.len();
                    // A page that is known to be cut is cut inside an event.
                    return Some(Err(self.damage.take().unwrap_or(damage)));
                }
            };
            let len = match event {
                Event::Data { delta, data, len } => {
                    self.at += len;
                    self.ts = self.ts.wrapping_add(delta);
                    return Some(Ok(RawRecord { ts: self.ts, data }));
                }
                // A discarded event's time counts, unless it is the 1 that `rb_event_discard` puts in
                // place of a 0 (as in `rb_read_data_buffer`, which checks persistent rings at boot).
                Event::Discarded { delta: 1, len } => len,
                Event::Discarded { delta, len } => {
                    self.ts = self.ts.wrapping_add(delta);
                    len
                }
                Event::Extend { delta } => {
                    self.ts = self.ts.wrapping_add(delta);
                    TIME_EVENT_BYTES
                }
                Event::Stamp { ts } => {
                    self.ts = with_msb(ts, self.ts);
                    TIME_EVENT_BYTES
                }
                Event::Rest => self.data.len() - self.at,
            };
            self.at += len;
        }
        self.damage.take().map(Err)
    }
}

/// Puts back the top 5 bits that an absolute time stamp lacks (`rb_fix_abs_ts`).
fn with_msb(stamp: u64, previous: u64) -> u64 {
    if previous & STAMP_MSB == 0 {
        return stamp;
    }
    let full = stamp | (previous & STAMP_MSB);
    if full < previous { full.wrapping_add(1 << 59) } else { full }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
