//! Stage lines on the serial console, the host's only view of a guest that does not come through.

use crate::result::LINE_PREFIX;
use std::fmt::Display;
use std::io::Write;

/// Prints one `LAB: ` line. Each byte costs time on a serial port: stages and errors only.
pub fn say(line: impl Display) {
    // There is nowhere to report to when the console itself fails.
    let _ = writeln!(std::io::stdout().lock(), "{LINE_PREFIX}{line}");
}
