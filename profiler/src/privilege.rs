//! What each command may still do once it runs: the capabilities it needs, and no way to get others
//! (capabilities(7), `PR_SET_NO_NEW_PRIVS`). `docs/privileges.md` is this table.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_no_new_privs};

/// A command's needs.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The command.
    pub command: &'static str,
    /// Without these it cannot do its work.
    pub needed: CapabilitySet,
    /// These it uses if it has them.
    pub useful: CapabilitySet,
}

const fn need(command: &'static str, needed: CapabilitySet, useful: CapabilitySet) -> Need {
    Need { command, needed, useful }
}

const NONE: CapabilitySet = CapabilitySet::empty();
const LOG: CapabilitySet = CapabilitySet::SYSLOG;
const BOOT: CapabilitySet = CapabilitySet::SYS_BOOT.union(LOG);
const PROBES: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
const PROCESSES: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// For what any user may do with files of his own; root also with those of others.
const FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// The commands that give up what they do not need. `setup` and `collect`'s command are not among them: they start
/// other programs, which need what they need.
///
/// | Capability | For |
/// |---|---|
/// | `CAP_BPF`, `CAP_PERFMON` | loading programs, attaching them to kprobes, reading the kernel's memory in them |
/// | `CAP_SYSLOG` | addresses of functions, and the kernel log where `dmesg_restrict` is set |
/// | `CAP_SYS_BOOT` | `kexec_file_load(2)`, `reboot(2)` |
/// | `CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH` | seeing which VMM holds a vCPU, in `/proc/PID/fd` of other users |
/// | `CAP_DAC_OVERRIDE` | root reading and writing the files of others |
pub const NEEDS: &[Need] = &[
    need("arm", PROBES.union(LOG), NONE),
    need("disarm", NONE, NONE),
    need("cmdline", LOG, PROBES),
    need("load", BOOT, PROBES.union(CapabilitySet::DAC_READ_SEARCH)),
    need("kexec", BOOT, PROBES),
    need("seal", NONE, PROBES),
    need("collect", PROBES.union(LOG), PROCESSES),
    need("mark", NONE, NONE),
    need("serve", LOG, PROBES),
    need("prune", NONE, NONE),
    need("report", NONE, FILES),
    need("last", NONE, FILES),
    need("compare", NONE, FILES),
    need("budget", NONE, FILES),
    need("trend", NONE, FILES),
    need("dump", NONE, FILES),
    need("stream", NONE, FILES),
    need("tui", NONE, FILES),
    need("schema", NONE, NONE),
];

/// What a command needs, if it is one that gives up the rest.
pub fn of(command: &str) -> Option<&'static Need> {
    NEEDS.iter().find(|need| need.command == command)
}

impl Need {
    /// Needed capabilities that this thread does not have.
    ///
    /// # Errors
    /// Those of capget(2).
    pub fn missing(&self) -> io::Result<Vec<String>> {
        Ok(names(self.needed - capabilities(None)?.effective))
    }

    /// Gives up everything else, for this thread and what it starts, for good.
    ///
    /// # Errors
    /// Those of capget(2), capset(2) and prctl(2).
    pub fn confine(&self) -> io::Result<()> {
        let mut sets = capabilities(None)?;
        let kept = sets.permitted & (self.needed | self.useful);
        (sets.permitted, sets.effective, sets.inheritable) = (kept, kept, NONE);
        set_capabilities(None, sets)?;
        // Otherwise root has everything back with the next program.
        Ok(set_no_new_privs(true)?)
    }
}

/// The names of capabilities(7).
pub fn names(set: CapabilitySet) -> Vec<String> {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table() {
        let text = include_str!("../../docs/privileges.md");
        let list = |set| match names(set) {
            names if names.is_empty() => "-".to_owned(),
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        for need in NEEDS {
            let row = format!("| `{}` | {} | {} |", need.command, list(need.needed), list(need.useful));
            assert!(text.contains(&row), "docs/privileges.md lacks: {row}");
        }
    }

    #[test]
    fn what_was_given_up_does_not_come_back() {
        // Capabilities are a thread's own: the other tests keep theirs.
        let confined = std::thread::spawn(|| {
            of("report").unwrap().confine().unwrap();
            let left = capabilities(None).unwrap();
            let again = set_capabilities(
                None,
                rustix::thread::CapabilitySets { permitted: CapabilitySet::SYS_BOOT, ..left },
            );
            (left.permitted - FILES, again.is_err(), rustix::thread::no_new_privs().unwrap())
        });
        assert_eq!(confined.join().unwrap(), (NONE, true, true));
        assert!(of("setup").is_none());
    }
}
