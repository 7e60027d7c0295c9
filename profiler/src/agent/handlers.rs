//! The file handlers that are registered with LUO, and where their callbacks lie.

use profiler_report::evidence::text::scrub_c_string;

use super::bpf::Oracle;
use crate::btf::Btf;

/// More handlers than any kernel has: a list that does not close is not followed for ever.
const MAX_HANDLERS: usize = 64;

/// What is read of a handler.
pub const STRUCTURES: [&str; 2] = ["liveupdate_file_handler", "liveupdate_file_ops"];

/// A handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its `compatible` string, scrubbed.
    pub compatible: String,
    /// Its `struct liveupdate_file_ops`.
    ops: u64,
}

/// Every handler on `luo_file_handler_list` (kernel/liveupdate/luo_file.c, Linux 7.3); none if the kernel
/// does not say where the list is (`CONFIG_KALLSYMS_ALL`) or has no BTF of it.
pub fn registered(oracle: &Oracle, btf: &Btf) -> Vec<Handler> {
    let read = || {
        let head = oracle.address("luo_file_handler_list")?;
        let handler = btf.structure("liveupdate_file_handler")?;
        let offset = |member: &str| Some(u64::from(btf.member(handler, member)?.offset));
        let (list, ops, compatible) = (offset("list")?, offset("ops")?, offset("compatible")?);
        let mut handlers = Vec::new();
        let mut node = oracle.word(head)?;
        while node != head && handlers.len() < MAX_HANDLERS {
            let handler = node.wrapping_sub(list);
            handlers.push(Handler {
                compatible: scrub_c_string(&oracle.memory(handler.wrapping_add(compatible))?, 64),
                ops: oracle.word(handler.wrapping_add(ops))?,
            });
            node = oracle.word(node)?;
        }
        Some(handlers)
    };
    read().unwrap_or_default()
}

impl Handler {
    /// Address of one of its callbacks; `None` if it has none of this name.
    pub fn callback(&self, oracle: &Oracle, btf: &Btf, member: &str) -> Option<u64> {
        let offset = btf.member(btf.structure("liveupdate_file_ops")?, member)?.offset;
        oracle.word(self.ops.wrapping_add(offset.into())).filter(|address| *address != 0)
    }
}
