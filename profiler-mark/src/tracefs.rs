//! Paths in tracefs that the VMMs' marks and blackout's agent share.

/// Mount point of tracefs.
pub const ROOT: &str = "/sys/kernel/tracing";

/// Trace instance that carries the outgoing kernel's last events: `trace_instance=boot_map@trace`.
pub const FLIGHT_RECORDER: &str = "boot_map";

/// Event that carries the eBPF programs' records. It is enabled in the flight recorder of an armed kernel.
pub const RECORD_EVENT: &str = "bpf_trace/bpf_trace_printk";
