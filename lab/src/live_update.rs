//! What a live update is like, as options that several commands have.

use crate::emulator::{Emulator, Purpose};
use crate::kernel::{self, Kernel, Request};
use crate::kernel_config::KernelConfig;
use crate::plan::{Fault, Guest, Luo, Observer, Plan, Workload};
use crate::qemu::{Accel, DEVICE_ADDRESS, Iommu};
use crate::run::Lab;
use crate::vmm::layout::{MEMORY_MAX_BYTES, MEMORY_MIN_BYTES, VCPUS_MAX};
use crate::{accel, initramfs, selftest};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Duration;
use toolbox::binaries::Binaries;
use toolbox::cache::Cache;
use toolbox::needs::{self, Need};

/// What a live update is like, whatever kernels it is between.
#[derive(Debug, clap::Args)]
pub struct LiveUpdate {
    /// Memory of the virtual machine
    #[arg(long, value_name = "SIZE", default_value = "2G", value_parser = size)]
    memory: u64,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    cpus: u32,
    /// NUMA nodes of the virtual machine, which share its memory and CPUs evenly; the kernel sees them with
    /// --config CONFIG_X86_64_ACPI_NUMA=y
    #[arg(long, value_name = "NODES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    numa: u32,
    /// IOMMU of the virtual machine [default: intel's if a device is passed through, else none]
    #[arg(long, value_enum)]
    iommu: Option<Iommu>,
    /// PCI device to pass through to the first guest
    #[arg(long, value_enum, default_value_t = Device::None)]
    device: Device,
    /// Stamp the incoming kernel's image, which splits the dark stretch
    #[arg(long)]
    stamp: bool,
    /// Switch on the incoming kernel's function tracer, which sees what no later probe can; it makes the
    /// window longer
    #[arg(long)]
    trace_boot: bool,
    /// Run `blackout check` in the outgoing kernel, before it is armed, and keep what it says as check.json
    #[arg(long, conflicts_with = "deterministic")]
    check: bool,
    /// Virtual machines taken across; 0 leaves the files below [default: 1, with a workload of your own 0]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=16))]
    guests: Option<u32>,
    /// vCPUs of each guest
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(VCPUS_MAX)))]
    guest_vcpus: u32,
    /// Memory of each guest, such as 64M,32M; the last size is that of all further ones
    #[arg(long, value_name = "SIZE", default_value = "32M", value_delimiter = ',', value_parser = guest_size)]
    guest_memory: Vec<u64>,
    /// Give guests memory of huge pages (2 MiB) where there are any
    #[arg(long)]
    guest_hugepages: bool,
    /// LUO sessions preserved beside the guests
    #[arg(long, default_value_t = 2)]
    sessions: u32,
    /// Memfds preserved in each session
    #[arg(long, default_value_t = 4)]
    files: u32,
    /// Size of each memfd
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = size)]
    file_size: u64,
    /// A workload of your own: a folder with the programs `outgoing` and `incoming`; or `selftest:NAME`, one
    /// of the kernel's, such as luo_kexec_simple or luo_multi_session
    #[arg(long, value_name = "DIR", conflicts_with_all = ["sessions", "files", "file_size"])]
    workload: Option<String>,
    /// Let time be a function of the instructions executed: the same run gives the same report, to the
    /// nanosecond, whatever else the machine does. Emulation only; not the times of any real machine
    #[arg(long)]
    deterministic: bool,
    /// Count functions that are called once a page or folio
    #[arg(long)]
    hot: bool,
    /// Appended to the incoming kernel's command line
    #[arg(long, value_name = "CMDLINE", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Stream the live update to whoever connects to this Unix socket (it is made); starts when somebody does
    #[arg(long, value_name = "SOCKET", conflicts_with = "deterministic")]
    serve: Option<PathBuf>,
    /// With --serve: so many clients more, inside the machine, that never read; every second one sends garbage
    #[arg(long, value_name = "N", default_value_t = 0, requires = "serve", value_parser = clap::value_parser!(u32).range(..=255))]
    crowd: u32,
    /// Plant a fault: no-image, busy, freeze-fails, panic, hang, unpreserved, corrupted, no-flight-recorder,
    /// rejected-flight-recorder, device-busy; of the first guest: vmm-dies, missing-session, wrong-token,
    /// resized-memory, stuck-vcpu, paused-early, no-kvm
    #[arg(long, value_name = "NAME", value_parser = fault)]
    fault: Option<Fault>,
    /// What runs the guest; `auto` is KVM if a trial shows that it works, else emulation
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    accel: AccelChoice,
    /// QEMU to run, such as one of your own [default: the newest of Debian's backports that runs here, which is unpacked
    /// into the cache, else the system's]
    #[arg(long, value_name = "FILE")]
    qemu: Option<PathBuf>,
    /// Seconds without output after which the machine is taken to hang, five times as many with --deterministic. They
    /// are seconds of machine time: what the machine used of the processor, and what it was idle
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

impl LiveUpdate {
    fn iommu(&self) -> Iommu {
        self.iommu.unwrap_or(match self.device {
            Device::Edu => Iommu::Intel,
            Device::None => Iommu::None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Device {
    /// QEMU's teaching device: registers, DMA, an MSI
    Edu,
    /// None
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AccelChoice {
    Auto,
    Tcg,
    Kvm,
}

/// What the name of a selftest of the kernel stands behind.
const SELFTEST: &str = "selftest:";

/// Options that do not go together, in words for their user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub(crate) &'static str);

impl LiveUpdate {
    /// Finds what would fail later, before anything slow begins: options that do not go together, and packages that
    /// live updates between these kernels need, or `more` of the command.
    ///
    /// # Errors
    /// When options do not go together, or the system lacks a package.
    pub fn check(
        &self,
        cache: &Cache,
        kernels: &[(&Request, &KernelConfig)],
        more: &[&[Need]],
    ) -> Result<()> {
        plan(self)?;
        let kernels: Vec<Vec<Need>> =
            kernels.iter().map(|(request, config)| kernel::needs(cache, request, config)).collect();
        let workload: &[&[Need]] = match self.workload.as_deref() {
            None => &[],
            Some(workload) if workload.starts_with(SELFTEST) => &[needs::SHELL, needs::SELFTEST],
            Some(_) => &[needs::SHELL],
        };
        let kernels: Vec<&[Need]> = kernels.iter().map(Vec::as_slice).collect();
        needs::declare("cargo lab", &[&[needs::STATIC], workload, more, &kernels].concat())
    }

    /// What a live update does, but for who looks at it.
    ///
    /// # Errors
    /// When options do not go together.
    pub fn plan(&self) -> Result<Plan> {
        plan(self)
    }

    /// Memory of the virtual machine, bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory
    }

    /// Whether time is a function of the instructions executed.
    pub fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// Everything for live updates from the first kernel to the second, with `delays` in the lab's driver.
    ///
    /// # Errors
    /// When a workload cannot be built or read, or QEMU not be started.
    pub fn prepare(
        &self,
        cache: &Cache,
        (outgoing, incoming): (Kernel, Kernel),
        delays: Vec<(String, String)>,
        binaries: &Binaries,
        out: PathBuf,
    ) -> Result<Lab> {
        let plan = Plan { delays, ..plan(self)? };
        self.prepare_plan(cache, (outgoing, incoming), plan, binaries, out)
    }

    /// Everything for live updates that somebody else may look at.
    ///
    /// # Errors
    /// As [`LiveUpdate::prepare`].
    pub fn prepare_for(
        &self,
        observer: Observer,
        cache: &Cache,
        kernels: (Kernel, Kernel),
        binaries: &Binaries,
        out: PathBuf,
    ) -> Result<Lab> {
        let plan = Plan { observer, ..plan(self)? };
        self.prepare_plan(cache, kernels, plan, binaries, out)
    }

    fn prepare_plan(
        &self,
        cache: &Cache,
        (outgoing, incoming): (Kernel, Kernel),
        plan: Plan,
        binaries: &Binaries,
        out: PathBuf,
    ) -> Result<Lab> {
        let plan = Plan { lab_driver: kernel::share_driver(&outgoing, &incoming), ..plan };
        let workload = workload(cache, self, &incoming)?;
        let purpose = if self.deterministic { Purpose::Deterministic } else { Purpose::Any };
        let emulator = Emulator::choose(cache, self.qemu.as_deref(), purpose)?;
        let accel = match self.accel {
            _ if self.deterministic => Accel::Tcg,
            AccelChoice::Auto => accel::choose(cache, &emulator, &outgoing.image)?,
            AccelChoice::Tcg => Accel::Tcg,
            AccelChoice::Kvm => Accel::Kvm,
        };
        Ok(Lab {
            initrd: initramfs::build(binaries, &plan, workload.as_deref(), &[&outgoing, &incoming])?,
            outgoing,
            incoming,
            plan,
            append: self.iommu().parameter().into(),
            emulator,
            accel,
            cpus: self.cpus,
            memory_bytes: self.memory,
            numa_nodes: self.numa,
            iommu: self.iommu(),
            // Counting instructions on one thread takes several times as much processor time.
            timeout: Duration::from_secs(self.timeout.saturating_mul(if self.deterministic { 5 } else { 1 })),
            out,
            live: self.serve.clone(),
            counting: None,
        })
    }
}

/// What the options alone say.
fn plan(options: &LiveUpdate) -> Result<Plan> {
    let mut append = options.append.clone();
    if options.fault == Some(Fault::RejectedFlightRecorder) {
        if options.cpus < 2 {
            bail!(Usage("--fault rejected-flight-recorder needs --cpus 2 or more"));
        }
        // The ring is laid out by CPU: with another number it does not fit (ring_buffer.c, rb_meta_init, 7.3).
        append.push_str(" nr_cpus=1");
    }
    if options.deterministic && options.iommu == Some(Iommu::Amd) {
        bail!(Usage(
            "--iommu amd needs QEMU 10.2 or later, which does not repeat itself: no --deterministic"
        ));
    }
    if options.deterministic && options.accel == AccelChoice::Kvm {
        bail!(Usage("--deterministic needs emulation: no --accel kvm"));
    }
    let workload = match options.workload {
        Some(_) => Workload::Custom,
        None => Workload::Luo(Luo {
            sessions: options.sessions,
            files: options.files,
            file_bytes: options.file_size,
        }),
    };
    let guests = guests(options);
    if options.workload.is_some() && !guests.is_empty() {
        bail!(Usage("a workload of your own runs without guests: leave --guests out"));
    }
    if guests.is_empty() && options.fault.is_some_and(Fault::needs_guest) {
        bail!(Usage("this fault befalls a guest: it needs --guests 1 or more"));
    }
    if options.device != Device::None && guests.is_empty() {
        bail!(Usage("a device is passed through to a guest: it needs --guests 1 or more"));
    }
    if options.device == Device::None && options.fault == Some(Fault::DeviceBusy) {
        bail!(Usage("--fault device-busy needs --device edu"));
    }
    Ok(Plan {
        guests,
        stamp: options.stamp,
        trace_boot: options.trace_boot,
        check: options.check,
        append_incoming: append.trim().into(),
        fault: options.fault,
        serve: options.serve.is_some(),
        crowd: options.crowd,
        deterministic: options.deterministic,
        observer: if options.hot { Observer::Hot } else { Observer::Blackout },
        ..Plan::new(workload)
    })
}

/// The guests the options ask for: vm0, vm1, ...
fn guests(options: &LiveUpdate) -> Vec<Guest> {
    let default = if options.workload.is_some() { 0 } else { 1 };
    let last = options.guest_memory.last().into_iter().copied().cycle();
    let sizes = options.guest_memory.iter().copied().chain(last);
    let guest = |(number, memory_bytes)| Guest {
        name: format!("vm{number}"),
        memory_bytes,
        vcpus: options.guest_vcpus,
        huge_pages: options.guest_hugepages,
        device: (number == 0 && options.device == Device::Edu).then(|| DEVICE_ADDRESS.into()),
    };
    (0..options.guests.unwrap_or(default)).zip(sizes).map(guest).collect()
}

fn workload(cache: &Cache, options: &LiveUpdate, incoming: &Kernel) -> Result<Option<PathBuf>> {
    let Some(workload) = &options.workload else {
        return Ok(None);
    };
    let Some(name) = workload.strip_prefix(SELFTEST) else {
        needs::require("a workload of your own", needs::SHELL)?;
        return Ok(Some(workload.into()));
    };
    match &incoming.source {
        Some(source) => selftest::build(cache, source, name).map(Some),
        None => bail!(Usage("a selftest is built from the kernel's source: use it without --kernel IMAGE")),
    }
}

/// Reads a size in bytes, with K, M or G for powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "not a size such as 4M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

fn guest_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    let whole = bytes % (2 << 20) == 0 && (MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES).contains(&bytes);
    if whole { Ok(bytes) } else { Err("a guest has 4M to 2G, a multiple of 2M".to_owned()) }
}

fn fault(text: &str) -> Result<Fault, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    /// A command without other options.
    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        update: LiveUpdate,
    }

    fn parse(arguments: &[&str]) -> LiveUpdate {
        Only::try_parse_from(["lab"].iter().chain(arguments)).unwrap().update
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((size("4M"), size("2g"), size("12")), (Ok(4 << 20), Ok(2 << 30), Ok(12)));
        for wrong in ["", "M", "4T", "-1", "99999999999G", "4é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn guests_have_names_and_sizes() {
        let guests_of = |arguments: &[&str]| -> Vec<(String, u64)> {
            let guests = plan(&parse(arguments)).unwrap().guests;
            guests.into_iter().map(|guest| (guest.name, guest.memory_bytes >> 20)).collect()
        };
        assert_eq!(guests_of(&[]), [("vm0".into(), 32)]);
        assert_eq!(guests_of(&["--guests", "0"]), []);
        assert_eq!(guests_of(&["--workload", "d"]), []);
        let three = [("vm0".into(), 64), ("vm1".into(), 8), ("vm2".into(), 8)];
        assert_eq!(guests_of(&["--guests", "3", "--guest-memory", "64M,8M"]), three);
        assert!(Only::try_parse_from(["lab", "--guest-memory", "5M"]).is_err());
        for wrong in [["--guests", "0", "--fault", "no-kvm"], ["--guests", "1", "--workload", "d"]] {
            assert!(plan(&parse(&wrong)).unwrap_err().is::<Usage>(), "{wrong:?}");
        }
    }

    #[test]
    fn the_plan_follows_the_options() {
        let luo = Luo { sessions: 3, files: 4, file_bytes: 1024 };
        let plan_of = |arguments: &[&str]| plan(&parse(arguments));
        assert_eq!(plan_of(&["--sessions", "3", "--file-size", "1K"]).unwrap().workload, Workload::Luo(luo));
        let rejected = ["--fault", "rejected-flight-recorder", "--append", "x=1"];
        assert_eq!(plan_of(&rejected).unwrap().append_incoming, "x=1 nr_cpus=1");
        assert!(plan_of(&["--fault", "device-busy"]).unwrap_err().is::<Usage>());
        let error = plan_of(&[rejected.as_slice(), &["--cpus", "1"]].concat()).unwrap_err();
        assert!(error.is::<Usage>());
    }
}
