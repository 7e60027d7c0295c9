//! Recordings of live updates, and the reports computed from them.
//!
//! A recording holds raw evidence of both kernels. A report is computed from it on any machine, as often as needed:
//! nothing here makes system calls other than for files. Data flows in one direction, and a module uses only the
//! modules above it:
//!
//! ```text
//! recording   the file: frames of raw evidence, written as they happen
//! catalogue   which probes and phases exist (data files)
//! evidence    raw bytes of the kernel -> typed records (total decoders)
//! clock       anchors -> one tick axis, with error bounds
//! stitch      recording -> all records of both kernels, on one axis
//! timeline    sightings -> calls, milestones, window, phases, span trees
//! report      the one `Report` value and its JSON
//! render      a report as text, and in the formats of other tools
//! files       files that are whole or absent
//! ```
//!
//! ```no_run
//! use profiler_report::{recording, render, report};
//!
//! let recording = recording::read(&std::fs::read("plain.blackout")?)?;
//! let report = report::build(&recording)?;
//! print!("{}", render::text::render(&report));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
pub mod catalogue;
pub mod clock;
mod duration;
pub mod evidence;
pub mod files;
pub mod recording;
pub mod render;
pub mod report;
pub mod stitch;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timeline;

pub use duration::duration;
