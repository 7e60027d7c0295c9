//! The lines of an agent's stream: one bounded log that every client reads at its own pace.
//!
//! There is no queue for a client, only its place in the log: a slow one finds that the log has moved on,
//! and is told by how much. So memory does not grow with the number of clients, nor with their slowness,
//! and whoever writes never waits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// One line, newline included.
pub type Line = Arc<str>;

/// How much a journal keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Lines.
    pub lines: usize,
    /// Bytes of them; the last line is kept whatever its size.
    pub bytes: usize,
}

impl Default for Limits {
    /// Some minutes of a busy brownout, or the whole of a small live update.
    fn default() -> Self {
        Self { lines: 32 * 1024, bytes: 8 << 20 }
    }
}

/// Lines for clients: written by one, read by many.
#[derive(Debug)]
pub struct Journal {
    limits: Limits,
    log: Mutex<Log>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines that were dropped from the front: number of the first that is there.
    first: u64,
    pulse: Option<(u64, Line)>,
    ended: bool,
}

/// A client's place.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    next: u64,
    pulse: u64,
    /// Lines it has missed so far.
    lost: u64,
}

/// What a client has not read yet.
#[derive(Debug, Default)]
pub struct Batch {
    /// Lines it missed since it began; `None` if that did not change.
    pub lost: Option<u64>,
    /// Lines, in order.
    pub lines: Vec<Line>,
    /// Nothing will follow.
    pub ended: bool,
}

impl Journal {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { limits, log: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// Adds a line. The oldest go if there are too many.
    pub fn push(&self, line: impl Into<Line>) {
        let line = line.into();
        let mut log = self.lock();
        log.bytes += line.len();
        log.lines.push_back(line);
        while log.lines.len() > 1 && (log.lines.len() > self.limits.lines || log.bytes > self.limits.bytes) {
            let gone = log.lines.pop_front().map_or(0, |line| line.len());
            log.bytes = log.bytes.saturating_sub(gone);
            log.first += 1;
        }
        drop(log);
        self.changed.send_replace(());
    }

    /// Replaces the line that says where things stand: of those a client needs only the last.
    pub fn pulse(&self, line: impl Into<Line>) {
        let mut log = self.lock();
        let number = log.pulse.as_ref().map_or(0, |(number, _)| *number) + 1;
        log.pulse = Some((number, line.into()));
        drop(log);
        self.changed.send_replace(());
    }

    /// Nothing will be added any more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.send_replace(());
    }

    /// Lines from the cursor on, which moves behind them: up to `most` of theirs, in bytes, but always one.
    pub fn read(&self, cursor: &mut Cursor, most: usize) -> Batch {
        let log = self.lock();
        let mut batch = Batch::default();
        if cursor.next < log.first {
            cursor.lost += log.first - cursor.next;
            cursor.next = log.first;
            batch.lost = Some(cursor.lost);
        }
        let skip = usize::try_from(cursor.next - log.first).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for line in log.lines.iter().skip(skip) {
            bytes += line.len();
            if bytes > most && !batch.lines.is_empty() {
                break;
            }
            batch.lines.push(Arc::clone(line));
        }
        cursor.next += batch.lines.len() as u64;
        let mut whole = cursor.next == log.first + log.lines.len() as u64;
        if let Some((number, line)) = log.pulse.as_ref().filter(|(number, _)| whole && *number > cursor.pulse)
        {
            if batch.lines.is_empty() || bytes + line.len() <= most {
                cursor.pulse = *number;
                batch.lines.push(Arc::clone(line));
            } else {
                whole = false;
            }
        }
        batch.ended = log.ended && whole;
        batch
    }

    /// Tells of changes.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        // Nobody panics while holding it; and if so, the log is still whole.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed_and_a_fast_one_misses_nothing() {
        let journal = Journal::new(Limits { lines: 2, bytes: 1000 });
        let (mut fast, mut slow) = (Cursor::default(), Cursor::default());
        for line in ["a", "b", "c"] {
            journal.push(line);
            assert_eq!(texts(&journal.read(&mut fast, 9)), [line]);
        }
        let batch = journal.read(&mut slow, 9);
        assert_eq!((batch.lost, texts(&batch)), (Some(1), vec!["b", "c"]));
        journal.push("d");
        assert_eq!(journal.read(&mut slow, 9).lost, None);
    }

    #[test]
    fn of_pulses_only_the_last_counts_and_it_comes_after_the_lines() {
        let journal = Journal::new(Limits::default());
        journal.pulse("1");
        journal.pulse("2");
        journal.push("a");
        let mut cursor = Cursor::default();
        assert_eq!(texts(&journal.read(&mut cursor, 9)), ["a", "2"]);
        assert!(journal.read(&mut cursor, 9).lines.is_empty());
        journal.end();
        assert!(journal.read(&mut cursor, 9).ended);
    }

    proptest! {
        #[test]
        fn lines_read_and_lines_lost_are_all_lines_and_memory_is_bounded(
            steps in prop::collection::vec((0_usize..40, 0_usize..5), 1..80), most in 1_usize..100,
        ) {
            let journal = Journal::new(Limits { lines: 8, bytes: 100 });
            let mut cursor = Cursor::default();
            let (mut written, mut read) = (0, 0);
            for (length, reads) in steps {
                journal.push("x".repeat(length));
                written += 1;
                for _ in 0..reads {
                    let lines = journal.read(&mut cursor, most).lines;
                    let bytes: usize = lines.iter().map(|line| line.len()).sum();
                    prop_assert!(bytes <= most || lines.len() == 1);
                    read += lines.len() as u64;
                }
                let log = journal.lock();
                prop_assert!(log.lines.len() <= 8 && (log.bytes <= 100 || log.lines.len() == 1));
                prop_assert_eq!(log.bytes, log.lines.iter().map(|line| line.len()).sum::<usize>());
            }
            loop {
                let batch = journal.read(&mut cursor, most);
                if batch.lines.is_empty() { break }
                read += batch.lines.len() as u64;
            }
            prop_assert_eq!(read + cursor.lost, written);
        }
    }
}
