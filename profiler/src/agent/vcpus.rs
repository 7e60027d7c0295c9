//! Attaches the vCPU programs to KVM's tracepoints.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use profiler_common::vcpu::{self, Hook};
use profiler_mark::ticks;
use profiler_report::{
    evidence::format::EventFormat,
    recording::{Side, frame::ProbeState},
};

use super::{
    bpf::{
        Object, Oracle,
        link::{self, End, Ends, Place},
        sys::{self, Kind},
    },
    tracefs::Instance,
};

/// KVM's tracepoints: catalogue name, event. Exits first: an exit without its entry tells that the entry was missed.
const EVENTS: [(&str, &str); 2] = [("vcpu-exit", EXIT), ("vcpu-entry", "kvm_entry")];
const EXIT: &str = "kvm_exit";

/// The last function of the outgoing kernel that can be probed (arch/x86/kernel/machine_kexec_64.c,
/// Linux 7.3): the other CPUs are stopped, no vCPU can run any more.
const FLUSH_AT: &std::ffi::CStr = c"machine_kexec";

/// Loads and attaches what `side` needs. What cannot be attached is an entry in the coverage, not an
/// error: a host may have no KVM.
pub fn attach(object: &Object, side: Side) -> (Vec<ProbeState>, Vec<(String, OwnedFd)>) {
    let program = match side {
        Side::Outgoing => "vcpu_keep",
        Side::Incoming => "vcpu_write",
    };
    let (mut states, mut links) = (Vec::new(), Vec::new());
    let mut take = |probe: &str, symbol: &str, method: &str, attached: Result<OwnedFd, String>| {
        let (link, error) = match attached {
            Ok(link) => (Some(link), None),
            Err(error) => (None, Some(error)),
        };
        states.push(ProbeState {
            probe: probe.to_owned(),
            symbol: link.is_some().then(|| symbol.to_owned()),
            method: method.to_owned(),
            attached_tsc: link.is_some().then(ticks),
            error,
        });
        links.extend(link.map(|link| (probe.to_owned(), link)));
    };
    // Without one of them the other tells nothing.
    let hooks = EVENTS.iter().map(|(_, event)| hook(event)).collect::<Result<Vec<_>, _>>();
    let ready = hooks.and_then(|hooks| Ok((hooks, load(object, program, Kind::Tracepoint)?)));
    for (index, (probe, event)) in EVENTS.iter().enumerate() {
        let attached = ready.as_ref().map_err(String::clone).and_then(|(hooks, program)| {
            let (id, hook) = hooks[index];
            link::tracepoint(program.as_fd(), id, hook.cookie()).map_err(|error| error.to_string())
        });
        take(probe, &format!("kvm:{event}"), "tracepoint", attached);
    }
    if side == Side::Outgoing {
        let pmu = link::kprobe_pmu().ok();
        let method = if pmu.is_some() { "kprobe" } else { "kprobe-multi" };
        let attached = ready.and_then(|_| flush(object, pmu));
        take("vcpu-flush", &FLUSH_AT.to_string_lossy(), method, attached);
    }
    (states, links)
}

/// Processes that may have run a vCPU before now: they hold one, and KVM does not say that none of theirs has
/// left its guest yet.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn may_have_run() -> io::Result<Vec<u32>> {
    runners(Path::new("/proc"), Path::new("/sys/kernel/debug/kvm"))
}

fn runners(proc: &Path, stats: &Path) -> io::Result<Vec<u32>> {
    let mut runners = Vec::new();
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has gone meanwhile holds nothing.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let files = descriptors.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let files: Vec<String> = files.map(|file| file.to_string_lossy().into_owned()).collect();
        let count = |name: &str| files.iter().filter(|file| file.contains(name)).count();
        // `create_vcpu_fd` and `kvm_dev_ioctl_create_vm` (virt/kvm/kvm_main.c, Linux 7.3) name them.
        let (vcpus, vms) = (count("kvm-vcpu:"), count("anon_inode:kvm-vm"));
        if vcpus > 0 && exits(&entry.path().join("task"), stats, vms) != Some(0) {
            runners.push(pid);
        }
    }
    Ok(runners)
}

/// Exits so far of the process with these threads and so many VMs; `None` if KVM does not tell of all of them.
///
/// It has a folder for each VM, `THREAD-DESCRIPTOR` by the thread that made it (`kvm_create_vm_debugfs`,
/// virt/kvm/kvm_main.c, Linux 7.3), where debugfs is mounted.
fn exits(threads: &Path, stats: &Path, vms: usize) -> Option<u64> {
    let mut counts = Vec::new();
    for folder in fs::read_dir(stats).ok()? {
        let folder = folder.ok()?;
        let name = folder.file_name();
        let Some((thread, _)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
        if threads.join(thread).exists() {
            counts.push(fs::read_to_string(folder.path().join("exits")).ok()?.trim().parse::<u64>().ok()?);
        }
    }
    (counts.len() >= vms).then(|| counts.into_iter().fold(0, u64::saturating_add))
}

/// Events of vCPUs that found no seat.
pub fn refused(object: &Object) -> Option<u64> {
    sys::array_word(object.map("KVM_COUNTERS").ok()?, vcpu::REFUSED).ok()
}

/// Number of one of KVM's events, and where its records hold what the program needs.
fn hook(event: &str) -> Result<(u32, Hook), String> {
    let global = Instance::global().map_err(|error| error.to_string())?;
    let text = read(&global, &format!("events/kvm/{event}/format"))?;
    let format = EventFormat::parse(&text).map_err(|error| error.to_string())?;
    let offset = |name: &str| {
        let field = format.field(name).filter(|field| field.size == 4);
        let field = field.ok_or_else(|| format!("kvm:{event} has no field {name} of 4 bytes"))?;
        u16::try_from(field.offset).map_err(|error| error.to_string())
    };
    let (exit, vcpu) = (event == EXIT, offset("vcpu_id")?);
    Ok((format.id.into(), Hook { exit, vcpu, reason: if exit { offset("exit_reason")? } else { vcpu } }))
}

fn load(object: &Object, program: &'static str, kind: Kind) -> Result<OwnedFd, String> {
    object.load(program, kind).map_err(|error| error.to_string())
}

/// By a kprobe; in a kernel without them by `CONFIG_FPROBE`, which wants an address.
fn flush(object: &Object, pmu: Option<u32>) -> Result<OwnedFd, String> {
    let load = |kind| load(object, "vcpu_flush", kind);
    let attached = match pmu {
        Some(pmu) => {
            let program = load(Kind::Kprobe)?;
            link::kprobe(program.as_fd(), Place::Symbol(FLUSH_AT), End::Entry, pmu, 0)
        }
        None => {
            let oracle = Oracle::new(object).map_err(|error| error.to_string())?;
            let address = oracle.address(&FLUSH_AT.to_string_lossy());
            let address = address.ok_or_else(|| format!("no symbol {}", FLUSH_AT.to_string_lossy()))?;
            link::many(load(Kind::KprobeMulti)?.as_fd(), &[address], &[0], Ends::One(End::Entry))
        }
    };
    attached.map_err(|error| error.to_string())
}

/// Without `CONFIG_KVM`, or before its module is loaded, the file does not exist.
fn read(global: &Instance, file: &str) -> Result<String, String> {
    let path = global.path(file);
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("No such file: {} (load the kvm module first)", path.display()),
        _ => format!("{}: {error}", path.display()),
    };
    fs::read_to_string(&path).map_err(explain)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn who_holds_a_vcpu_may_have_run_it_unless_kvm_counts_no_exit() {
        let root = tempfile::tempdir().unwrap();
        let (proc, stats) = (root.path().join("proc"), root.path().join("kvm"));
        let process = |pid: &str, thread: &str, files: &[&str]| {
            fs::create_dir_all(proc.join(pid).join("task").join(thread)).unwrap();
            fs::create_dir_all(proc.join(pid).join("fd")).unwrap();
            for (number, file) in files.iter().enumerate() {
                symlink(file, proc.join(pid).join("fd").join(number.to_string())).unwrap();
            }
        };
        let (vm, vcpu) = ("anon_inode:kvm-vm", "anon_inode:kvm-vcpu:0");
        process("10", "10", &["/dev/null"]);
        process("20", "21", &[vm, vcpu]);
        process("30", "30", &[vm, vcpu]);
        // Two VMs, and KVM tells of one of them.
        process("40", "40", &[vm, vcpu, vm, vcpu]);
        let sorted = || {
            let mut found = runners(&proc, &stats).unwrap();
            found.sort_unstable();
            found
        };
        assert_eq!(sorted(), [20, 30, 40], "without debugfs nothing is known");
        for (folder, exits) in [("21-7", "0\n"), ("30-7", "3\n"), ("40-7", "0\n")] {
            fs::create_dir_all(stats.join(folder)).unwrap();
            fs::write(stats.join(folder).join("exits"), exits).unwrap();
        }
        assert_eq!(sorted(), [30, 40]);
    }
}
