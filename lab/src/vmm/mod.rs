//! A small virtual machine monitor on KVM, run inside the lab's machine: a guest whose memory and vCPUs go across
//! the live update, and which itself says how long it was gone.
//!
//! Each guest is a process of this program, started by init and named after the guest:
//!
//! ```text
//! layout      where things lie in the guest's memory
//! journal     what each vCPU writes down there: rounds, and the largest gaps in its time
//! guest_code  the guest's program
//! driver      its driver of a passed-through device
//! boot        page tables and registers a new guest starts with
//! memory      memfds: the guest's memory, and room for its state
//! vcpu        a vCPU and its thread: run, stop
//! registers   a vCPU's state, out of KVM and back
//! state       that state as bytes
//! guest_device  the passed-through device in the machine
//! machine     the whole machine: new, restored, running, paused
//! control     what init and the VMM say to each other
//! process     the VMM's course of events, under either kernel
//! ```
//!
//! In the outgoing kernel the memfds are preserved while the guest runs; at the order to pause, the vCPUs stop and
//! their state is written into preserved memory. The incoming kernel's VMM retrieves both and lets the guest go on.
//! Guest TSC is host TSC in both (offset 0), so that the gap the guest saw is in the ticks the profiler uses.

mod boot;
pub mod control;
mod driver;
mod guest_code;
mod guest_device;
pub mod journal;
pub mod layout;
mod machine;
mod memory;
mod process;
mod registers;
mod state;
mod vcpu;

use crate::guest::luo::Session;
use crate::plan::{Guest, PLAN_FILE, Plan};
use anyhow::{Context, Result};
use control::{Answer, Control};
use process::Task;
pub use process::failed_mark;
use profiler_mark::Marks;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// First argument of a VMM's process: then the side, the guest's number in the plan, and the number of the
/// session's file descriptor. Standard input is the control socket.
pub const COMMAND: &str = "vmm";

/// Which kernel a VMM runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is replaced.
    Outgoing,
    /// The one that replaces it.
    Incoming,
}

impl Side {
    /// As an argument.
    pub fn word(self) -> &'static str {
        match self {
            Side::Outgoing => "outgoing",
            Side::Incoming => "incoming",
        }
    }
}

/// The VMM's process, from its arguments on; an exit code. Errors go to init, over the control socket.
pub fn main() -> i32 {
    // SAFETY: init gave us a socket as standard input, and nobody else in this process uses it.
    let mut control = Control::new(UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) }));
    match run(&mut control) {
        Ok(()) => 0,
        Err(error) => {
            // If nobody hears it, init is gone.
            let _ = control.send(&Answer::Failed(format!("{error:#}")));
            1
        }
    }
}

fn run(control: &mut Control) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let [side, index, session] = arguments.as_slice() else {
        anyhow::bail!("`{COMMAND}` takes a side, a guest's number and a file descriptor");
    };
    let (index, session): (u32, i32) = (index.parse()?, session.parse()?);
    // SAFETY: init opened this descriptor for us, and said its number to nobody else.
    let session = Session::from(unsafe { OwnedFd::from_raw_fd(session) });
    let plan = Plan::read()?;
    let guest: &Guest = plan
        .guests
        .get(index as usize)
        .with_context(|| format!("{PLAN_FILE} has no guest number {index}"))?;
    rustix::thread::set_name(&std::ffi::CString::new(guest.name.as_str())?)?;
    let marks = || Marks::open(std::process::id(), Some(&guest.name)).context("no marks can be made");
    let task = Task { plan: &plan, index, guest, control, session, marks: marks()? };
    let ended = if side == Side::Incoming.word() { task.incoming() } else { task.outgoing() };
    if let Err(error) = &ended {
        marks()?.mark(&failed_mark(&format!("{error:#}")))?;
    }
    ended
}
