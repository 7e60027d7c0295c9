//! The guest side: init of both kernels, and the workload that is carried across.
//!
//! ```text
//! init       the order of events, under either kernel
//! mounts     file systems init needs
//! process    running a command, reaping, keeping its output
//! console    stage lines on the serial console
//! results    the result file in the shared folder
//! workload   our own LUO client: what it preserves and how it is checked
//! mapping    a preserved file in memory, to be checked
//! luo        the ioctls of /dev/liveupdate
//! fleet      the guests of this run: their sessions and VMMs
//! pattern    content of a preserved file, known on both sides
//! exchange   how files reach the host: shared folder, or mailbox
//! mailbox    memory that the host sees
//! observer   who looks instead of blackout, for comparison; the workload's own clock
//! host       the guests as services of a host with systemd
//! live       `blackout serve` beside it, and its stream out of the machine
//! busy       a planted fault: somebody else holds the kexec lock
//! ```
mod busy;
mod console;
mod exchange;
mod fleet;
pub(crate) mod host;
mod init;
pub(crate) mod live;
pub(crate) mod luo;
mod mailbox;
mod mapping;
mod mounts;
pub(crate) mod observer;
pub(crate) mod pattern;
mod process;
mod results;
mod workload;

use crate::vmm;

/// First argument with which this program checks our own workload under the incoming kernel.
const RESTORE_COMMAND: &str = "workload-incoming";

/// Whether this process is the guest's: init, or the workload init started. A binary that is also
/// something else calls [`main`] if so, before it parses any argument.
pub fn takes_over() -> bool {
    rustix::process::getpid().is_init()
        || [RESTORE_COMMAND, vmm::COMMAND, host::COMMAND].into_iter().any(is_command)
}

/// Runs the guest side; does not return. As process 1 it ends in power-off, never in an exit.
pub fn main() -> ! {
    if is_command(RESTORE_COMMAND) {
        std::process::exit(workload::restore_main());
    }
    if is_command(vmm::COMMAND) {
        std::process::exit(vmm::main());
    }
    if is_command(host::COMMAND) {
        std::process::exit(host::main());
    }
    init::main()
}

fn is_command(command: &str) -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == command)
}
