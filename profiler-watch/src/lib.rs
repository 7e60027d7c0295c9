//! Follows a live update from outside, while it happens or afterwards.
//!
//! An agent (`blackout serve`) sends one line for each thing that happens, under either kernel. A reader joins both
//! halves and knows what is known so far; the terminal draws that.
//!
//! ```text
//! message   the lines of a stream (`blackout.stream/1`), and what they are made of
//! endpoint  where a stream is: a Unix socket, TCP, TLS, vsock
//! tls       what a reader trusts, and the token that both ends know
//! vsock     sockets between a virtual machine and its host
//! decode    bytes of a stream -> messages; total, for they come from outside
//! client    a connection to an agent
//! tally     messages -> how far preserving and restoring have come
//! shorten   a report that fits into one line
//! state     what a reader knows: both kernels, their calls, the clock of the blackout
//! replay    a recording, or a recorded stream, as timed messages
//! tui       a terminal's views of the state (they draw, and decide nothing)
//! ```
pub mod client;
pub mod decode;
pub mod endpoint;
pub mod message;
pub mod replay;
mod shorten;
pub mod state;
pub mod tally;
pub mod tls;
pub mod tui;
pub mod vsock;

pub use shorten::shorten;
