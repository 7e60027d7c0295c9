//! Messages -> how far preserving and restoring have come.

use std::collections::HashMap;

use super::message::{Counters, Message, Place};

/// Counts what is told.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The counts.
    pub counters: Counters,
    /// Size of the file that each task is preserving.
    preserving: HashMap<i32, Option<u64>>,
}

/// Tasks that preserve at once; more are counted without a size.
const MAX_TASKS: usize = 4096;

impl Tally {
    /// A task began to preserve a file of this size, if it has one that can be told.
    pub fn preserving(&mut self, pid: i32, bytes: Option<u64>) {
        if self.preserving.len() < MAX_TASKS {
            self.preserving.insert(pid, bytes);
        }
    }

    /// Counts a call that ended well.
    pub fn take(&mut self, message: &Message) {
        let Message::End { kernel, name, pid, retval, .. } = message else { return };
        let bytes = match (name.as_str(), pid.and_then(|pid| i32::try_from(pid).ok())) {
            ("file-preserve", Some(pid)) => self.preserving.remove(&pid).flatten(),
            _ => None,
        };
        if retval.is_some_and(|retval| retval < 0) {
            return;
        }
        let counters = &mut self.counters;
        match (kernel, name.as_str()) {
            (Place::Outgoing, "session-create") | (Place::Incoming, "session-retrieve") => {
                counters.sessions += 1;
            }
            (Place::Outgoing, "file-preserve") => {
                counters.files += 1;
                match bytes {
                    Some(bytes) => counters.bytes = counters.bytes.saturating_add(bytes),
                    None => counters.files_of_unknown_size += 1,
                }
            }
            (Place::Incoming, "file-retrieve") => counters.files += 1,
            (Place::Incoming, "session-finish") => counters.finished += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_do_not_count_and_unknown_sizes_are_said() {
        let mut tally = Tally::default();
        let end = |name: &str, retval| Message::End {
            kernel: Place::Outgoing,
            name: name.to_owned(),
            tsc: 0,
            pid: Some(7),
            retval: Some(retval),
        };
        tally.take(&end("session-create", 0));
        for (bytes, retval) in [(Some(Some(4096)), 0), (Some(None), 0), (Some(Some(100)), -22), (None, 0)] {
            if let Some(bytes) = bytes {
                tally.preserving(7, bytes);
            }
            tally.take(&end("file-preserve", retval));
        }
        let Counters { sessions, files, bytes, files_of_unknown_size, .. } = tally.counters;
        assert_eq!((sessions, files, bytes, files_of_unknown_size), (1, 3, 4096, 2));
    }
}
