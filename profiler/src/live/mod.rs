//! Live: what happens on a host, as a stream that a reader outside follows across the kexec. The lines, and the
//! reader, are [`profiler_watch`]'s.
//!
//! ```text
//! boot_log  kernel log -> milestones of the boot that nobody could watch
//! journal   the bounded log of lines that all clients read, each at its own pace
//! guard     what an endpoint that other machines reach asks for: certificate and token
//! vsock     listens for a virtual machine or its host
//! server    the clients of an agent (tokio)
//! source    a trace instance of its own, and the kernel log (the only I/O on the kernel)
//! subject   the live update that is served
//! telling   the agent's own work: source -> messages -> journal
//! serve     `blackout serve`: telling and server together
//! ```
mod boot_log;
pub mod guard;
pub mod journal;
mod serve;
pub mod server;
mod source;
mod subject;
mod telling;
mod vsock;

pub use serve::{ServeError, ServeOptions, serve};
