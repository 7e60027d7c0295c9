//! Evidence: the kernel's raw bytes become typed records.
//!
//! ```text
//! TracePages + TraceBuffer  -> format (layouts), page (raw records), trace (typed events)
//!   Print text of the flight recorder
//!                           -> carrier (the outgoing kernel's description, anchors), mark (VMMs' marks)
//!   Other                   -> event (tasks and CPUs)
//!   BpfPrintk text          -> probe_record (calls and returns of probed functions)
//! Kmsg                      -> kmsg (lines), facts (what they state)
//! BootParams                -> stamps
//! Config                    -> config
//! ZoneInfo                  -> zoneinfo
//! (modules.builtin.ranges, of which the recording has what was asked for) -> builtin
//! ```
//! The flight recorder is decoded twice: first with the incoming kernel's formats, which are good for
//! `ftrace:print` because its id never changes; from those lines [`carrier::assemble`] gets the
//! outgoing kernel's own [`TraceBuffer`](crate::recording::frame::TraceBuffer), and with that all of it
//! can be read.
//!
//! Everything here is pure and total: any input gives a value or an error, nothing is allocated beyond
//! the size of the input (but 4 MiB for the configuration, which is compressed), and text is scrubbed of control characters ([`text::scrub`]) when it is decoded.

pub mod builtin;
mod bytes;
pub mod carrier;
pub mod config;
pub mod event;
pub mod facts;
pub mod format;
#[cfg(test)]
mod kernel_tests;
pub mod kmsg;
pub mod mark;
pub mod page;
pub mod probe_record;
pub mod stamps;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod trace;
pub mod zoneinfo;
