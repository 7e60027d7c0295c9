//! Answers of the running kernel: where a symbol lies, what lies at an address. Far quicker than
//! reading `/proc/kallsyms`, whose every line the kernel has to make.

use aya_ebpf::helpers::generated::{bpf_kallsyms_lookup_name, bpf_probe_read_kernel};
use profiler_common::ask::{DATA_BYTES, NAME_BYTES, Question};

/// Loaded as `BPF_PROG_TYPE_SYSCALL` and run by user space, which alone gives the context; gives 0 or a
/// negative errno. The section's name only satisfies the object's parser, which knows no such type.
#[unsafe(no_mangle)]
#[unsafe(link_section = "kprobe/ask")]
extern "C" fn ask(question: *mut Question) -> i64 {
    // SAFETY: the context is a whole `Question`: the kernel checks its size before it runs us. Both
    // helpers check what they read themselves, and write as much as said.
    unsafe {
        if (*question).name[0] == 0 {
            let source = (*question).address as *const _;
            return bpf_probe_read_kernel((&raw mut (*question).data).cast(), DATA_BYTES as u32, source);
        }
        let mut address = 0;
        let name = (&raw const (*question).name).cast();
        let result = bpf_kallsyms_lookup_name(name, NAME_BYTES as i32, 0, &raw mut address);
        (*question).address = address;
        result
    }
}
