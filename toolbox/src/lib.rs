//! What the lab and xtask share: external programs and the packages that ship them, the cache, progress.
//!
//! ```text
//! progress            what a long step is doing, on stderr
//! exec                running a command, its output kept or returned
//! program             external programs, each with its Debian package
//! needs               which programs and files a step needs, and installing them
//! cache fingerprint   the folder outside the checkout, and names in it
//! sources apt         the machine's own Debian mirror, and packages from it
//! resolved            which package a request came to
//! unpacked            programs that are unpacked into the cache and not installed
//! binaries            the programs of this workspace, built static
//! disk debian_root    a Debian root file system, and files of its disk image
//! ```
pub mod apt;
pub mod binaries;
pub mod cache;
pub mod debian_root;
pub mod disk;
pub mod exec;
pub mod fingerprint;
pub mod needs;
pub mod program;
pub mod progress;
pub mod resolved;
pub mod sources;
pub mod unpacked;
