//! The kernel log as `/dev/kmsg` gives it.
//!
//! A record is `PRIO,SEQ,TIME_US,FLAGS[,caller=ID];TEXT`, a newline, and ` KEY=value` lines;
//! everything outside printable ASCII is escaped as `\xNN` (`info_print_ext_header`,
//! `msg_add_ext_text`, kernel/printk/printk.c, Linux 7.3).

use super::text::scrub;

/// Bytes of a line that are kept; the kernel's own limit is `PRINTKRB_RECORD_MAX`, 1024.
const MAX_TEXT: usize = 4096;
/// Bytes of a caller id that are kept.
const MAX_CALLER: usize = 32;

/// One line of the kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsgLine {
    /// Sequence number; counts every line since boot.
    pub seq: u64,
    /// Time, microseconds of `local_clock()`; 0 before the kernel has one.
    ///
    /// It is not monotonic. Seen with Linux 7.3.4 in QEMU: from 44000 (jiffies) back to 313 where the
    /// TSC took over, unless `tsc_early_khz=` was given; 0 or too little in a line that a secondary CPU
    /// wrote while it was brought up.
    pub ts_us: u64,
    /// Severity, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Who wrote it: 0 is the kernel. User space cannot write as 0 (`devkmsg_write`).
    pub facility: u32,
    /// The line, scrubbed.
    pub text: String,
    /// `T` and thread id or `C` and CPU, with `CONFIG_PRINTK_CALLER`.
    pub caller: Option<String>,
}

impl KmsgLine {
    /// Whether the kernel itself said it, and not a task.
    pub fn is_kernel(&self) -> bool {
        self.facility == 0
    }
}

/// A kernel log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kmsg {
    /// Lines in the order they were read.
    pub lines: Vec<KmsgLine>,
    /// Lines that are missing between the first and the last.
    pub lost: u64,
    /// Lines before the first one: the log's ring was too small (`log_buf_len=`).
    pub overwritten: u64,
    /// Records that could not be read.
    pub malformed: u64,
}

/// Decodes records of `/dev/kmsg` that are separated by NUL bytes.
pub fn parse(blob: &[u8]) -> Kmsg {
    let mut log = Kmsg::default();
    let mut expected = None;
    for record in blob.split(|&b| b == 0).filter(|record| !record.is_empty()) {
        let Some(line) = parse_record(record) else {
            log.malformed += 1;
            continue;
        };
        match expected {
            None => log.overwritten = line.seq,
            Some(expected) => log.lost = log.lost.saturating_add(line.seq.saturating_sub(expected)),
        }
        expected = Some(line.seq.saturating_add(1));
        log.lines.push(line);
    }
    log
}

fn parse_record(record: &[u8]) -> Option<KmsgLine> {
    let semicolon = record.iter().position(|&b| b == b';')?;
    let (header, text) = (record.get(..semicolon)?, record.get(semicolon + 1..)?);
    let mut fields = std::str::from_utf8(header).ok()?.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let seq = fields.next()?.parse().ok()?;
    let ts_us = fields.next()?.parse().ok()?;
    let caller = fields.find_map(|field| field.strip_prefix("caller="));
    let text = text.split(|&b| b == b'\n').next().unwrap_or_default();
    Some(KmsgLine {
        seq,
        ts_us,
        level: (priority & 7) as u8,
        facility: priority >> 3,
        text: scrub(&unescape(text), MAX_TEXT),
        caller: caller.map(|id| scrub(id.as_bytes(), MAX_CALLER)),
    })
}

/// Undoes `\xNN`; a backslash that begins no such escape stays.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match rest {
            [b'\\', b'x', high, low, tail @ ..] => {
                nibble(*high).zip(nibble(*low)).map(|(h, l)| (h << 4 | l, tail))
            }
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((byte, tail));
        out.push(byte);
        rest = tail;
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_records() {
        let blob = b"6,0,0,-;Linux version 7.3.4\n\0\
            4,1,1500000,-,caller=T1;pci 0000:00:1f.2: a\\x5cb\\x1b[m \\xc3\\xbc\\x0ax\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.2\n\0\
            12,2,1500001,c;KHO: found kexec handover data.\n";
        let log = parse(blob);
        assert_eq!((log.lost, log.overwritten, log.malformed, log.lines.len()), (0, 0, 0, 3));
        let line = &log.lines[1];
        assert_eq!(line.text, "pci 0000:00:1f.2: a\\b\u{fffd}[m \u{fc} x");
        assert_eq!((line.level, line.ts_us, line.caller.as_deref()), (4, 1_500_000, Some("T1")));
        assert!(log.lines[0].is_kernel());
        assert!(!log.lines[2].is_kernel(), "a task may write anything");
    }

    #[test]
    fn counts_gaps() {
        let log = parse(&[&b"6,10,1,-;a"[..], b"junk", b"6,11,1,-;b", b"6,15,1,-;c", b""].join(&0));
        assert_eq!((log.overwritten, log.lost, log.malformed, log.lines.len()), (10, 3, 1, 3));
    }

    #[test]
    fn keeps_what_is_no_escape() {
        for text in [&b"\\"[..], b"\\x", b"\\x1", b"\\xg0", b"\\y12", b"a\\"] {
            assert_eq!(unescape(text), text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_log(blob: Vec<u8>) {
            let _ = parse(&blob);
            let mut record = b"6,1,2,-;".to_vec();
            record.extend(&blob);
            prop_assert!(parse(&record).lines.len() + parse(&record).malformed as usize >= 1);
        }

        #[test]
        fn escapes_round_trip(bytes: Vec<u8>) {
            let escaped: String = bytes.iter().map(|&b| match b {
                b'\\' | 0..b' ' | 127.. => format!("\\x{b:02x}"),
                _ => char::from(b).to_string(),
            }).collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), bytes);
        }
    }
}
