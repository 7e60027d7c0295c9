//! Loads the incoming kernel with the command line that makes its boot visible.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use profiler_report::catalogue::{CATALOGUE, Probe, RETURN_SUFFIX, Way, path::Path as MemberPath};

use super::{AgentError, identity, kallsyms, kmsg, names, state};
use crate::{
    btf::{
        Btf,
        walk::{self, Goal},
    },
    kexec::{
        cmdline::{self, Boot},
        stamp,
    },
};

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The bzImage; if `None`, the system's own and its initramfs.
    pub kernel: Option<PathBuf>,
    /// Its initramfs.
    pub initrd: Option<PathBuf>,
    /// Appended to the command line.
    pub append: String,
    /// Stamp the image, to split the dark stretch.
    pub stamp: bool,
    /// Trace boot functions at their entry.
    pub trace_boot: bool,
}

/// The incoming kernel's command line, made from this kernel's.
pub fn cmdline(run_id: &str, append: &str, trace_boot: bool) -> Result<String, AgentError> {
    let path = "/proc/cmdline";
    let current = fs::read_to_string(path).map_err(AgentError::file("read", path))?;
    let tsc_hz = identity::kernel(&kmsg::read_all()?).tsc_hz;
    // Layouts are this kernel's: what is read by them counts only in another of the same build.
    let btf = names::kernel_types();
    let devices = if vfio_holds_a_device() { device_kprobes(btf.as_ref())? } else { Vec::new() };
    let boot = boot(run_id, tsc_hz.map(|hz| hz / 1000), append, trace_boot, btf.as_ref(), devices);
    Ok(cmdline::generate(current.trim_end(), &boot)?)
}

/// What the catalogue asks of the incoming kernel's boot.
fn boot(
    run_id: &str,
    tsc_khz: Option<u64>,
    append: &str,
    trace_boot: bool,
    btf: Option<&Btf>,
    devices: Vec<String>,
) -> Boot {
    let entered = wants(Way::BootEnter).filter(|_| trace_boot);
    Boot {
        filter: entered.flat_map(|probe| probe.symbols.clone()).collect(),
        // `bpf_trace` so that loading the eBPF programs need not switch it on: early it costs next to nothing.
        events: ["printk:console", "bpf_trace:bpf_trace_printk"]
            .map(str::to_owned)
            .into_iter()
            .chain(wants(Way::BootEvent).flat_map(|probe| probe.symbols.clone()))
            .collect(),
        kprobes: wants(Way::BootCall)
            .flat_map(|probe| boot_kprobes(probe, &probe.symbols, btf))
            .chain(devices)
            .collect(),
        tsc_khz,
        run_id: run_id.to_owned(),
        append: append.to_owned(),
    }
}

/// Whether a driver for pass-through has a device: each is of this class (`vfio_device_register`,
/// drivers/vfio/vfio_main.c, Linux 7.3).
fn vfio_holds_a_device() -> bool {
    fs::read_dir("/sys/class/vfio-dev").is_ok_and(|mut devices| devices.next().is_some())
}

/// Kprobes on what is done for such a device, each on the first of its symbols that this kernel has: the
/// command line has no room for the others.
fn device_kprobes(btf: Option<&Btf>) -> Result<Vec<String>, AgentError> {
    let probes = || wants(Way::BootDevice);
    let known = kallsyms::known(probes().flat_map(|probe| &probe.symbols))?;
    let first = |probe: &'static Probe| probe.symbols.iter().find(|symbol| known.contains(symbol.as_str()));
    let found = probes().filter_map(|probe| Some((probe, first(probe)?)));
    Ok(found.flat_map(|(probe, symbol)| boot_kprobes(probe, std::slice::from_ref(symbol), btf)).collect())
}

/// The probes that want this of the incoming kernel's boot.
fn wants(way: Way) -> impl Iterator<Item = &'static Probe> {
    CATALOGUE.probes.iter().filter(move |probe| probe.incoming.contains(&way))
}

/// Entry and return of a function as `kprobe_event=` definitions (Documentation/trace/kprobetrace.rst);
/// the event's name is the symbol's, so that the catalogue finds it again.
fn boot_kprobes(probe: &Probe, symbols: &[String], btf: Option<&Btf>) -> Vec<String> {
    // Only what the subject names: the command line is short.
    let subject = &probe.subject;
    let mut args = String::new();
    for arg in (0..3).filter(|arg| subject.uses_arg(*arg)) {
        args += &format!(",a{arg}=$arg{}", arg + 1);
    }
    let paths = |paths: &[MemberPath], kind: char, goal: Goal| -> String {
        let fetch = |(slot, path): (usize, &MemberPath)| {
            // What this kernel's structures do not give is left out. A string that is an argument itself is
            // the same in any kernel, and goes by a name of its own.
            let fetch = walk::fetch_argument(path, &walk::compile(path, goal, btf, None).ok()?, goal);
            let name = if path.base.is_none() { "name".to_owned() } else { format!("{kind}{slot}") };
            Some(format!(",{name}={fetch}"))
        };
        paths.iter().enumerate().filter_map(fetch).collect()
    };
    args += &paths(&subject.texts, 't', Goal::Text);
    args += &paths(&subject.numbers, 'n', Goal::Number);
    let both = |symbol: &String| {
        [format!("p:{symbol},{symbol}{args}"), format!("r:{symbol}{RETURN_SUFFIX},{symbol},$retval")]
    };
    symbols.iter().flat_map(both).collect()
}

/// Loads a kernel for the armed run, or else for the one that will be armed next; gives the command line it will
/// have.
pub fn load(state_dir: &Path, options: &LoadOptions) -> Result<String, AgentError> {
    let run = match state::armed(state_dir) {
        Ok((run, _)) => run,
        Err(AgentError::NotArmed(_)) => identity::new_run()?,
        Err(error) => return Err(error),
    };
    let cmdline = cmdline(&run.id, &options.append, options.trace_boot)?;
    let (image, initrd) = match &options.kernel {
        Some(kernel) => (kernel.clone(), options.initrd.clone()),
        None => installed(Path::new("/")).ok_or(AgentError::NoKernel)?,
    };
    let kernel = if options.stamp { stamped(&image)? } else { open(&image)? };
    let initrd = initrd.as_deref().map(open).transpose()?;
    kexec_file_load(&kernel, initrd.as_ref(), &cmdline)?;
    state::set_current(&run.id)?;
    Ok(cmdline)
}

/// The kernel that the system would boot next and its initramfs, by the links that Debian keeps for it
/// (linux-update-symlinks(1)).
fn installed(root: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let dirs = ["", "boot"].map(|dir| root.join(dir));
    let dir = dirs.into_iter().find(|dir| dir.join("vmlinuz").exists())?;
    Some((dir.join("vmlinuz"), Some(dir.join("initrd.img")).filter(|initrd| initrd.exists())))
}

fn open(path: &Path) -> Result<File, AgentError> {
    File::open(path).map_err(AgentError::file("open", path))
}

/// The image with stamps, as an anonymous file.
fn stamped(path: &Path) -> Result<File, AgentError> {
    let mut image = fs::read(path).map_err(AgentError::file("read", path))?;
    stamp::stamp(&mut image).map_err(|source| AgentError::Stamp { path: path.into(), source })?;
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"blackout-kernel".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(AgentError::syscall("memfd_create")(io::Error::last_os_error()));
    }
    // SAFETY: a descriptor we have just been given, and nobody else owns.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(&image).map_err(AgentError::file("write", "memfd"))?;
    // The kernel reads no file that somebody may write: go on with a read-only descriptor alone.
    open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}

fn kexec_file_load(kernel: &File, initrd: Option<&File>, cmdline: &str) -> Result<(), AgentError> {
    const KEXEC_FILE_NO_INITRAMFS: libc::c_ulong = 4;
    let flags = if initrd.is_some() { 0 } else { KEXEC_FILE_NO_INITRAMFS };
    let initrd_fd = initrd.map_or(-1, AsRawFd::as_raw_fd);
    let text = CString::new(cmdline).map_err(|error| {
        AgentError::syscall("kexec_file_load")(io::Error::new(io::ErrorKind::InvalidInput, error))
    })?;
    let length = text.as_bytes_with_nul().len();
    // SAFETY: descriptors are open, the command line is readable for the length given.
    let result = unsafe {
        libc::syscall(libc::SYS_kexec_file_load, kernel.as_raw_fd(), initrd_fd, length, text.as_ptr(), flags)
    };
    if result == 0 { Ok(()) } else { Err(AgentError::syscall("kexec_file_load")(io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_kernel_comes_with_its_initramfs() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(installed(root.path()), None);
        fs::create_dir(path("boot")).unwrap();
        fs::write(path("boot/vmlinuz"), "").unwrap();
        fs::write(path("initrd.img"), "of another").unwrap();
        assert_eq!(installed(root.path()), Some((path("boot/vmlinuz"), None)));
        fs::write(path("vmlinuz"), "").unwrap();
        assert_eq!(installed(root.path()), Some((path("vmlinuz"), Some(path("initrd.img")))));
    }
}
