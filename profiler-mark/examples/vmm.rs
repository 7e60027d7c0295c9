//! Marks of a live update in a VMM: `cargo run -p profiler-mark --example vmm`.
//!
//! The VMM opens its marks once, when the guest starts, and writes one at each step. Writing needs access to tracefs.

use std::process;

use profiler_mark::{MarkError, Marks};

fn main() -> Result<(), MarkError> {
    let mut marks = Marks::open(process::id(), Some("vm-7"))?;
    marks.mark("vm-started")?;

    // The outgoing kernel: the VMM is asked to pause the guest, and saves its state.
    marks.mark("pause-asked")?;
    // ... stop the vCPUs, preserve memory and state ...
    marks.mark("state-saved")?;

    // The incoming kernel: a new VMM process, which opens its own marks under the same name.
    let mut marks = Marks::open(process::id(), Some("vm-7"))?;
    marks.mark("restore-begun")?;
    // ... retrieve memory and state, start the vCPUs ...
    marks.mark("vm-running")
}
