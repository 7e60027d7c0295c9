//! What blackout's eBPF programs and its user space agree on.
//!
//! The programs write one line of text a record with `bpf_trace_vprintk`, because
//! `bpf_trace:bpf_trace_printk` is the only static trace event a BPF program can put into the
//! kernel's persistent ring, which is the only thing that a kexec carries (design: flight recorder).
#![no_std]
#![warn(missing_docs)]

pub mod ask;
pub mod cost;
pub mod hot;
pub mod record;
pub mod vcpu;
pub mod walk;
