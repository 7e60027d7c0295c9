//! Reads the kernel log.

use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt};

use super::AgentError;

const PATH: &str = "/dev/kmsg";

/// Largest record the kernel hands out (`PRINTKRB_RECORD_MAX` and its header, kernel/printk).
const RECORD_BYTES: usize = 8192;

/// Every record the log still holds, separated by NUL bytes.
pub fn read_all() -> Result<Vec<u8>, AgentError> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(PATH)
        .map_err(AgentError::file("open", PATH))?;
    let mut records = Vec::new();
    let mut record = [0; RECORD_BYTES];
    loop {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                records.extend_from_slice(record.get(..length).unwrap_or(&record));
                records.push(0);
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => break,
                // Overwritten while we read: the next read goes on behind the gap, which the records'
                // sequence numbers show.
                Some(libc::EPIPE | libc::EINTR) => {}
                _ => return Err(AgentError::file("read", PATH)(error)),
            },
        }
    }
    Ok(records)
}
