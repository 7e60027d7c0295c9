//! Marks: a VMM names points in time of a live update, and `blackout report` shows them.
//!
//! [`Marks::mark`] reads the TSC and `CLOCK_MONOTONIC` and writes one line ([`MarkLine`]) into `trace_marker`. An armed
//! kernel keeps the line in the flight recorder, which crosses the kexec. Any other kernel keeps it in the global trace
//! buffer, which `blackout collect` reads. The report decodes the line (`profiler_report::evidence::mark`).
//!
//! The names `pause-asked` and `state-saved` divide the phases of a guest's window; a name that begins with `failed`
//! reports a guest that did not survive. All other names are free.
//!
//! The crate has no dependencies, so that it costs a VMM nothing to link. `examples/vmm.rs` shows where a VMM calls it.

mod error;
mod line;
mod marks;
mod monotonic;
mod ticks;
pub mod tracefs;

pub use error::MarkError;
pub use line::MarkLine;
pub use marks::Marks;
pub use ticks::ticks;
