//! Sightings on one axis -> calls, milestones, window, phases, span trees. Pure: no I/O, no clock
//! arithmetic.

mod calls;
mod forest;
mod guests;
mod identity;
mod milestones;
mod partition;
mod window;

pub use calls::{Call, pair};
pub use forest::{Node, forest};
pub use guests::{Guest, GuestVcpu, VmStatus, Watch, guests};
pub use identity::Identity;
pub use milestones::Milestones;
pub use partition::{Cell, OPENING, UNOBSERVED, partition};
pub use window::{Ends, WindowKind, host_window};
