//! A host as there are others: a Debian root with systemd and GRUB on a disk, on which the package is installed and
//! set up as its documentation says, and live updates are made with `systemctl kexec`.
//!
//! ```text
//! options   the command line of `cargo lab host`
//! machine   one life of the machine: from power on to power off, or to the cable being pulled
//! flow      the whole course, and what must be true after it
//! ```

mod flow;
mod machine;
mod options;

pub use options::{Options, main};
