//! A real live update in a virtual machine: the host side that builds and runs it, and the guest side
//! that is init of both kernels.
//!
//! Host, in the order of a run:
//!
//! ```text
//! packages    which of the system's packages a step needs
//! apt kernel kernel_build   kernel sources from the machine's own mirror, built and cached
//! binaries selftest         static programs for the guest
//! cpio initramfs            what both kernels boot into
//! accel qemu watch          the virtual machine, and what its console says
//! run                       one live update, its recording and its reports
//! ```
pub mod guest;
pub mod plan;
pub mod result;
