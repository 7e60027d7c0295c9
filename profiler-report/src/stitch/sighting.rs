//! One thing that was seen, at a moment of the common axis.

use crate::{
    catalogue::Probe,
    evidence::{event::Event, mark::Mark},
    recording::Side,
};

/// A moment on the TSC axis, which both kernels share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Ticks.
    pub ticks: u64,
    /// The true moment lies at most this far away; ticks.
    pub error_ticks: u64,
}

impl Moment {
    /// A moment that was read off the TSC itself.
    pub fn exact(ticks: u64) -> Self {
        Self { ticks, error_ticks: 0 }
    }
}

/// How it was seen. Where two sources saw the same call, the earlier one of this list gives the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A kprobe event that the command line made: on raw TSC.
    BootKprobe,
    /// One of our eBPF programs.
    Ebpf,
    /// A static trace event.
    Event,
}

/// Calls that nobody looked at, as their caller tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// How many.
    pub count: u64,
    /// What they are about, together; bytes.
    pub bytes: Option<u64>,
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// In which kernel.
    pub side: Side,
    /// When.
    pub at: Moment,
    /// On which CPU, if that is known.
    pub cpu: Option<u32>,
    /// In which task (thread id), if that is known.
    pub pid: Option<u32>,
    /// What.
    pub what: What,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A probed function was entered, and its return is watched too.
    Enter {
        /// Its probe.
        probe: &'static Probe,
        /// How it was seen.
        source: Source,
        /// Whose time it is.
        subject: String,
        /// The task's name.
        comm: Option<String>,
        /// Calls in it of the function that it carries ([`Probe::carries`]).
        carried: Option<Carried>,
    },
    /// It returned.
    Exit {
        /// Its probe.
        probe: &'static Probe,
        /// How it was seen.
        source: Source,
        /// Raw return value.
        retval: u64,
    },
    /// A probed function was entered, and its return is not watched; or a static trace event fired.
    Reached {
        /// Its probe.
        probe: &'static Probe,
        /// Whose time it is.
        subject: String,
        /// The task's name.
        comm: Option<String>,
    },
    /// A static event about tasks or CPUs fired.
    Event {
        /// Its probe.
        probe: &'static Probe,
        /// What it tells.
        event: Event,
        /// Name of the function that it holds, if it holds one that has a name.
        function: Option<String>,
    },
    /// An initcall began.
    InitcallBegin {
        /// Its function; `init_module`, which each module's is called too, if the kernel has dropped its name.
        function: String,
        /// The module that it is of, if it is a loadable one, or the kernel's build says of which it would be.
        module: Option<String>,
    },
    /// It returned.
    InitcallEnd {
        /// Its function.
        function: String,
        /// What it returned.
        retval: i32,
    },
    /// The kernel said something.
    Log {
        /// The line.
        text: String,
    },
    /// A VMM named this moment.
    Mark {
        /// The mark.
        mark: Mark,
    },
    /// An image stamp: the 64-bit entry.
    StampEntry,
    /// An image stamp: decompression is done.
    StampDecompressed,
    /// The log clock of the incoming kernel read 0.
    ClockEpoch,
}
