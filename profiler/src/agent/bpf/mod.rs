//! Our own way into the kernel for the eBPF programs: quick enough for the incoming kernel, where every
//! millisecond of it lies beside the restore.

mod ask;
pub mod link;
mod object;
pub mod sys;

use std::io;

pub use ask::Oracle;
pub use object::Object;

/// Programs of the object.
pub const PROGRAMS: [&str; 10] = [
    "enter",
    "exit",
    "ask",
    "vcpu_keep",
    "vcpu_flush",
    "vcpu_write",
    "cost_flush",
    "hot_call",
    "hot_epoch",
    "hot_flush",
];

/// Why the programs could not be put into the kernel.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BpfError {
    #[error("the eBPF object of this build is damaged; build it again with `cargo xtask ebpf`")]
    Object(#[from] aya_obj::ParseError),
    #[error("the eBPF object of this build does not hold together; build it again with `cargo xtask ebpf`")]
    Relocate(#[from] aya_obj::relocation::EbpfRelocationError),
    #[error("the eBPF object of this build holds no {0}; build it again with `cargo xtask ebpf`")]
    Missing(&'static str),
    #[error("cannot make eBPF map {name} (needs CAP_BPF and CONFIG_BPF_SYSCALL)")]
    Map { name: String, source: io::Error },
    #[error(
        "cannot put eBPF program {name} into the kernel (needs CAP_BPF, CAP_PERFMON and CONFIG_BPF_EVENTS): {reason}"
    )]
    Program { name: &'static str, source: io::Error, reason: String },
}
