//! Live: what happens on a host, as a stream that a reader outside follows across the kexec.
//!
//! ```text
//! message   the lines of a stream (`blackout.stream/1`), and what they are made of
//! boot_log  kernel log -> milestones of the boot that nobody could watch
//! journal   the bounded log of lines that all clients read, each at its own pace
//! endpoint  where a stream is: a Unix socket, TCP, TLS, vsock
//! tls       what an endpoint that other machines reach asks for: certificate and token
//! server    the clients of an agent (tokio)
//! source    a trace instance of its own, and the kernel log (the only I/O on the kernel)
//! telling   the agent's own work: source -> messages -> journal (tally counts, shorten fits a report in a line)
//! serve     `blackout serve`: telling and server together
//! decode    bytes of a stream -> messages; total, for they come from outside
//! client    a connection to an agent
//! state     what a reader knows: both kernels, their calls, the clock of the blackout
//! replay    a recording, or a recorded stream, as timed messages
//! ```
pub mod boot_log;
pub mod client;
pub mod decode;
pub mod endpoint;
pub mod journal;
pub mod message;
pub mod replay;
mod serve;
pub mod server;
mod shorten;
mod source;
pub mod state;
pub mod tally;
mod telling;
pub mod tls;
mod vsock;

pub use serve::{ServeError, ServeOptions, serve};
