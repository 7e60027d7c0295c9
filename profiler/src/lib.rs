//! `blackout`: where the time goes while a hypervisor host replaces its kernel.
//!
//! The host's part: it arms and loads, records, streams, and checks what a kernel offers. What a recording means is
//! computed by [`profiler_report`]. A module uses only those above it:
//!
//! ```text
//! btf         where members of the kernel's structures lie (pure)
//! kexec       what the kexec is given: command line, stamped image (pure)
//! check       what a kernel offers -> how much of a live update could be measured (pure)
//! privilege   what each command may still do
//! host        what a host is set up with: command line, units, hooks (planning is pure)
//! agent       what runs on the host: all the I/O of a live update
//! live        sends the stream of a live update while it happens
//! ```
pub mod agent;
pub mod btf;
pub mod check;
pub mod host;
pub mod kexec;
pub mod live;
pub mod privilege;
