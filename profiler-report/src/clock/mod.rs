//! Clocks: every clock of the evidence becomes ticks of the TSC, with an error that is derived from
//! what was measured. All pure.
pub mod join;
pub mod line;
pub(crate) mod one_sided;
pub mod rate;
pub mod sched_clock;
pub mod ticks;

pub use line::{Anchor, ClockError, Mapping, Stamp};
pub use one_sided::{LogClock, Pair, Regime};
pub use rate::Slope;
pub use ticks::Hz;
