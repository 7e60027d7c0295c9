//! A real live update in a virtual machine: the host side that builds and runs it, and the guest side
//! that is init of both kernels.
//!
//! The host side, in the order of a run:
//!
//! ```text
//! cli                       options, exit codes
//! kernel kernel_config kernel_build   the kernels, built and cached
//! selftest                  static programs for the guest
//! cpio initramfs            what both kernels boot into
//! emulator accel qemu tsc   the virtual machine
//! machine_time watch session   whether it advances, what its console says, one run of it
//! run reports               one live update and its results
//! accuracy                  the profiler's figures beside the guest's own
//! overhead                  what looking costs, beside others who look
//! instructions              the same as instructions, by function of the kernel
//! document                  where the figures of both are kept
//! bench                     a series of them, for two builds
//! host                      a Debian host with systemd, live-updated as the documentation says
//! bisect                    one judged by a budget, for git bisect
//! vmm                       a virtual machine inside it, whose guest says how long it was gone
//! plan result mailbox       what host and guest tell each other
//! device                    a PCI device in user space's hands, inside the guest
//! ```
pub mod accel;
pub mod accuracy;
pub mod bench;
pub mod bisect;
pub mod cli;
pub mod cpio;
pub mod device;
pub mod document;
pub mod emulator;
pub mod guest;
pub mod host;
pub mod initramfs;
pub mod instructions;
pub mod kernel;
pub mod kernel_build;
pub mod kernel_config;
pub mod live_update;
pub mod machine_time;
pub mod mailbox;
pub mod overhead;
pub mod plan;
pub mod qemu;
pub mod reports;
pub mod result;
pub mod run;
pub mod selftest;
pub mod session;
pub mod tsc;
pub mod vmm;
pub mod watch;
