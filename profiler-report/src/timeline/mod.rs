//! Sightings on one axis -> calls, milestones, window, phases, span trees. Pure: no I/O, no clock
//! arithmetic.

mod calls;
mod cpus;
mod critical;
mod forest;
mod guests;
mod identity;
mod milestones;
mod nodes;
mod partition;
mod tasks;
#[cfg(test)]
mod testing;
mod window;

pub use calls::{Call, pair};
pub use cpus::{CPU_UP, CPU_WAKE, cpus};
pub use critical::{Link, Paths};
pub use forest::{Node, forest};
pub use guests::{Guest, GuestVcpu, VmStatus, Watch, guests};
pub use identity::Identity;
pub use milestones::Milestones;
pub use nodes::{NODE, NodeInit, nodes};
pub use partition::{Cell, OPENING, UNOBSERVED, partition};
pub use tasks::{PROCESS, Tasks};
pub use window::{Ends, WindowKind, host_window};
