//! `blackout`: where the time goes while a hypervisor host replaces its kernel.
//!
//! Data flows one way; a module uses only those above it:
//!
//! ```text
//! catalogue   which probes and phases exist (data files)
//! btf         where members of the kernel's structures lie (pure)
//! recording   the file: frames of raw evidence, written as they happen
//! evidence    raw bytes of the kernel -> typed records (total decoders)
//! kexec       what the kexec is given: command line, stamped image (pure)
//! clock       anchors -> one tick axis, with error bounds
//! stitch      recording -> everything both kernels saw, on one axis (pure)
//! timeline    sightings -> calls, milestones, window, phases (pure)
//! report      the one `Report` value and its renderers
//! render      a report in the formats of other tools
//! compare     reports of two builds -> verdicts (pure)
//! check       what a kernel offers -> how much of a live update could be measured (pure)
//! inputs      files, folders, patterns -> reports, runs (I/O)
//! files       files that are whole or absent (I/O)
//! push        reports -> a collector, each once (I/O)
//! host        what a host is set up with: command line, units, hooks (planning is pure)
//! privilege   what each command may still do
//! agent       what runs on the host: all the I/O of a live update
//! live        the stream of a live update while it happens: agent, client, what a reader knows
//! tui         a terminal's views of it (render only)
//! ```
pub mod agent;
pub mod btf;
pub mod catalogue;
pub mod check;
pub mod clock;
pub mod compare;
pub mod evidence;
pub mod files;
pub mod host;
pub mod inputs;
pub mod kexec;
pub mod live;
pub mod privilege;
pub mod push;
pub mod recording;
pub mod render;
pub mod report;
pub mod stitch;
pub mod timeline;
pub mod tui;
