//! What runs on the host: arms the probes, loads and starts the incoming kernel, collects the
//! evidence. All input and output of a live update is here; what it means is decided elsewhere.

mod anchors;
mod arm;
pub mod bpf;
mod collect;
mod error;
mod identity;
mod jump;
mod kallsyms;
mod kmsg;
mod load;
pub mod mark;
mod missed;
mod probes;
mod state;
mod ticks;
mod tracefs;
mod vcpus;

pub use arm::{arm, disarm};
pub use collect::{Collected, collect};
pub use error::AgentError;
pub use jump::jump;
pub use load::{LoadOptions, cmdline, load};
pub use state::newest;
