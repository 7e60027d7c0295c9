//! Frames: what a recording is made of.
//!
//! A frame is a small JSON body that says what it is, and a blob of bytes as the kernel gave them.
//! The outgoing half's bodies also travel inside the flight recorder, as text, so that a recording
//! can be rebuilt without any disk (see [`crate::evidence::carrier`]).

use serde::{Deserialize, Serialize};

/// Which kernel a piece of evidence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The kernel that is replaced.
    Outgoing,
    /// The kernel that replaces it.
    Incoming,
}

/// One frame of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The kernel it is about (not the one that wrote it: the incoming kernel reads the outgoing
    /// kernel's flight recorder).
    pub side: Side,
    /// What it is.
    pub body: Body,
    /// Raw bytes; empty for frames that are all body.
    pub blob: Vec<u8>,
}

impl Frame {
    /// A frame that is all body.
    pub fn bare(side: Side, body: Body) -> Self {
        Self { side, body, blob: Vec::new() }
    }
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// Identity of the live update; the first frame of each half.
    Run(Run),
    /// Identity of a kernel.
    Kernel(Kernel),
    /// A trace buffer: clock, page and record layout, event formats.
    TraceBuffer(TraceBuffer),
    /// Raw sub-buffer pages of one CPU of the buffer with this name: blob is `n * page_size` bytes.
    TracePages {
        /// [`TraceBuffer::name`].
        buffer: String,
        /// The CPU the pages came from.
        cpu: u32,
        /// Bytes in a page (a sub-buffer).
        page_size: u32,
    },
    /// Text of `per_cpu/cpuN/stats` of a buffer.
    TraceStats {
        /// [`TraceBuffer::name`].
        buffer: String,
        /// The CPU.
        cpu: u32,
        /// The file's text.
        text: String,
    },
    /// Calls that eBPF probes could not show: probe and how many. Outgoing: up to the jump.
    Missed {
        /// Only probes that missed any.
        misses: Vec<(String, u64)>,
    },
    /// Calls that were counted where they ran (`--hot`). The outgoing kernel's are in the flight recorder.
    Counted(Counted),
    /// Text of `kprobe_profile`: hits and misses of every kprobe event.
    KprobeProfile {
        /// The file's text.
        text: String,
    },
    /// The kernel log: blob is the records of `/dev/kmsg`, each as read, separated by a NUL byte.
    Kmsg,
    /// Clock anchors taken by user space.
    Anchors(Anchors),
    /// Names for addresses that occur in the evidence.
    Symbols {
        /// `(address, name)`.
        symbols: Vec<(u64, String)>,
    },
    /// Modules of the functions that the evidence names, as far as they are built in and the kernel's build says so.
    Modules {
        /// `(address, module)`.
        modules: Vec<(u64, String)>,
    },
    /// What was probed, and how it went.
    Coverage(Coverage),
    /// `/sys/kernel/boot_params/data` of an x86 kernel: blob; carries image stamps.
    BootParams,
    /// `/proc/config.gz`: blob, as the kernel gives it.
    Config,
    /// `/proc/zoneinfo`: blob, as the kernel gives it.
    ZoneInfo,
    /// What a command that ran beside the recorder did.
    Command(CommandResult),
    /// The kexec did not happen: `reboot(2)` came back.
    RebootReturned {
        /// The errno.
        errno: i32,
        /// TSC after the call, ticks.
        tsc: u64,
    },
    /// Something went wrong while recording, in words for a person.
    Note {
        /// The message.
        text: String,
    },
    /// The half is whole: nothing of it follows.
    End,
    /// Written by a newer version: kept out of the way.
    #[serde(other)]
    Unknown,
}

/// Identity of one live update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// 16 lower-case hex digits, made by `blackout arm`, also on the incoming kernel's command line
    /// as `blackout.run=ID`.
    pub id: String,
    /// Realtime clock when this half was begun, nanoseconds since 1970.
    pub recorded_at_ns: u64,
    /// Version of the `blackout` that recorded it.
    pub tool: String,
}

/// Identity of one kernel and its machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`.
    pub arch: String,
    /// Host name.
    pub host: String,
    /// GNU build id, hex (`/sys/kernel/notes`); empty if the kernel has none.
    pub build_id: String,
    /// SHA-256 of `/proc/config.gz`'s content, hex; empty without `CONFIG_IKCONFIG_PROC`.
    pub config_sha256: String,
    /// `/proc/cmdline`.
    pub cmdline: String,
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal`, bytes.
    pub memory_bytes: u64,
    /// NUMA nodes.
    pub numa_nodes: u32,
    /// TSC frequency the kernel says it uses, Hz, from its log; `None` if it does not say.
    pub tsc_hz: Option<u64>,
    /// Current clocksource.
    pub clocksource: String,
    /// KHO's kexec count as this kernel printed it ("exec from: RELEASE (count N)"); 0 after a cold boot.
    pub kexec_count: u32,
    /// LUO's live update number as this kernel printed it; 0 after a cold boot.
    pub liveupdate_number: u64,
    /// Realtime minus TSC: `(tsc, realtime_ns)` taken together.
    pub realtime_at_tsc: Option<(u64, u64)>,
    /// Reading of the machine's real-time clock; `None` if the kernel offers none, and in recordings of versions
    /// that did not read it.
    pub rtc: Option<RtcReading>,
}

/// A real-time clock (RTC), read once between two readings of the TSC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RtcReading {
    /// Driver and device, such as `rtc_cmos 00:04`.
    pub name: String,
    /// TSC before the reading, ticks.
    pub before: u64,
    /// Whole seconds since 1970, in the time zone that the RTC keeps.
    pub seconds: u64,
    /// TSC after the reading, ticks.
    pub after: u64,
}

/// Layout of one trace buffer, as the kernel that filled it describes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceBuffer {
    /// `flight` (the persistent instance) or `boot` (the incoming kernel's global buffer).
    pub name: String,
    /// Selected clock: `local`, `x86-tsc`, ...
    pub clock: String,
    /// Text of `events/header_page`.
    pub header_page: String,
    /// Texts of the `format` files of the events that may occur.
    pub formats: Vec<String>,
}

/// TSC readings taken around readings of other clocks, and the kernel's own scale.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Anchors {
    /// `(clock, tsc_before, value_ns, tsc_after)`; clocks: `monotonic`, `boottime`, `realtime`, `kmsg`.
    pub readings: Vec<(String, u64, u64, u64)>,
    /// The kernel's TSC-to-`sched_clock` scale at that moment, from a perf event's mapped page:
    /// `ns = tsc * mult >> shift` plus an offset.
    pub scale: Option<Scale>,
}

/// `ns = (tsc * mult) >> shift` (arch/x86/kernel/tsc.c, `struct cyc2ns_data`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Multiplier.
    pub mult: u32,
    /// Right shift, bits.
    pub shift: u16,
    /// `time_zero` of the perf page: `sched_clock` nanoseconds at TSC 0.
    pub zero_ns: u64,
}

/// What was probed, and how it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// One entry a probe of the catalogue that this side wanted.
    pub probes: Vec<ProbeState>,
    /// TSC when loading began, when the programs were in, when all were attached; ticks.
    pub load_begin_tsc: u64,
    /// See `load_begin_tsc`.
    pub loaded_tsc: u64,
    /// See `load_begin_tsc`.
    pub attached_tsc: u64,
    /// Runs of the programs that write records, and their time, as they measured it: `(runs, ns)`. The outgoing
    /// kernel's are in the flight recorder.
    pub program_stats: Option<(u64, u64)>,
    /// Records begun and records refused by `bpf_trace_vprintk`, once all probes were out.
    pub records: Option<(u64, u64)>,
    /// Processes that may have run a vCPU before entries were watched; `None` if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmms_at_attach: Option<Vec<u32>>,
    /// KVM entries and exits of vCPUs that the programs had no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_vcpu_events: Option<u64>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeState {
    /// Catalogue name.
    pub probe: String,
    /// Symbol that was taken, of the alternatives.
    pub symbol: Option<String>,
    /// `kprobe`, `tracepoint`, `boot-kprobe`, `boot-function`, `boot-event`.
    pub method: String,
    /// TSC once it was attached, ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_tsc: Option<u64>,
    /// Why it could not be attached; `None` if it was.
    pub error: Option<String>,
}

impl ProbeState {
    /// Whether the kernel has nothing to attach it to: no failure.
    pub fn is_missing(&self) -> bool {
        self.symbol.is_none() && self.error.as_deref().is_none_or(is_absence)
    }
}

/// Whether this is why a probe has nothing to be attached to (`ENOENT`), and not why it was refused.
pub(crate) fn is_absence(error: &str) -> bool {
    error.contains("No such file")
}

/// Calls that were counted where they ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// One entry a function, epoch and CPU that had any.
    pub shares: Vec<Share>,
    /// Returns whose entry was not seen: in no share.
    pub unpaired: u64,
    /// Runs of the counting program that timed themselves, and their time together: `(runs, ns)`.
    pub sampled: (u64, u64),
}

/// One CPU's calls of a function in one epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Share {
    /// Address of the function.
    pub ip: u64,
    /// Epoch: 0 before the first phase that the catalogue marks, then counted from 1.
    pub epoch: u32,
    /// The CPU.
    pub cpu: u32,
    /// Calls that returned.
    pub count: u64,
    /// Their time together, nanoseconds.
    pub total_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many in each bucket of durations that is not empty (`profiler_common::hot::bucket`).
    pub buckets: Vec<(u16, u64)>,
}

/// A command that ran beside the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// What was run.
    pub argv: Vec<String>,
    /// Exit code; 128 + signal if killed.
    pub exit_code: i32,
    /// TSC at start, ticks.
    pub started_tsc: u64,
    /// TSC at the end, ticks.
    pub ended_tsc: u64,
}
