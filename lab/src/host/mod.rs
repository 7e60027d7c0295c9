//! A host as there are others: a Debian root with systemd and GRUB on a disk, on which the package is installed and
//! set up as its documentation says, and live updates are made with `systemctl kexec`.
//!
//! ```text
//! options   the command line of `cargo lab host`
//! root      the root file system, made by mmdebstrap, and a GRUB that QEMU boots; cached
//! disk      reading and writing files of a disk that nobody has mounted
//! machine   one life of the machine: from power on to power off, or to the cable being pulled
//! flow      the whole course, and what must be true after it
//! ```

mod disk;
mod flow;
mod machine;
mod options;
mod root;

pub use options::{Options, main};
pub use root::Root;
