//! What runs on the host: arms the probes, loads and starts the incoming kernel, collects the
//! evidence. All input and output of a live update is here; what it means is decided elsewhere.

pub(crate) mod anchors;
mod arm;
mod boot;
pub mod bpf;
mod collect;
pub(crate) mod error;
mod handlers;
mod hot;
pub(crate) mod identity;
mod jump;
mod kallsyms;
mod kmsg;
mod load;
mod missed;
mod names;
mod probes;
mod retention;
pub(crate) mod state;
mod survey;
mod together;
pub(crate) mod tracefs;
mod vcpus;

pub use arm::{arm, disarm};
pub use collect::{Collected, collect};
pub use error::AgentError;
pub use jump::{jump, seal};
pub use load::{LoadOptions, cmdline, load};
pub use probes::Look;
pub use retention::{Retention, prune};
pub use state::newest;
pub use survey::survey;
