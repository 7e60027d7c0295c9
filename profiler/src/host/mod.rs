//! What a host needs to measure its live updates: words on the command line, units, hooks.
//!
//! ```text
//! files   the files, as the package has them too
//! plan    what a host lacks of them (pure)
//! setup   looking at a host, doing a plan, and undoing what was done
//! ```

pub mod files;
pub mod plan;
pub mod setup;
