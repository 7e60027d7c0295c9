//! Starting the virtual machine.

use crate::emulator::Emulator;
use crate::guest::live::PORT;
use crate::mailbox::MAILBOX_BYTES;
use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use toolbox::exec;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// Emulation: works everywhere.
    Tcg,
    /// The host's processor.
    Kvm,
}

/// The IOMMU of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Iommu {
    /// Intel VT-d.
    Intel,
    /// AMD-Vi; needs QEMU 10.2 or later.
    Amd,
    /// There is none.
    None,
}

impl Iommu {
    /// What a kernel must be told to use it, or nothing: AMD's is on wherever there is one.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Intel => "intel_iommu=on",
            Self::Amd | Self::None => "",
        }
    }
}

/// The device that is passed through. It cannot be reset by itself, but the bus can that it has for its own.
const DEVICE: [&str; 2] = ["pcie-root-port,id=port0,addr=5", "edu,bus=port0"];
/// The address Linux gives it: the firmware numbers the buses, and there is no other behind a bridge.
pub const DEVICE_ADDRESS: &str = "0000:01:00.0";

/// An ISA bridge where AMD's chipsets have theirs: Linux remaps interrupts only if there is one at the address that the
/// firmware names for the IO-APIC (`check_sb_ioapic`, drivers/iommu/amd/init.c, 7.3). QEMU names 00:14.0 and has nothing
/// there, so a virtio disk of no use, of that class, stands in for it.
const AMD_SOUTHBRIDGE: [&str; 2] = [
    "driver=null-co,node-name=southbridge,size=512,read-zeroes=on",
    "virtio-blk-pci,drive=southbridge,addr=14.0,class=0x601",
];

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The emulator.
    pub emulator: Emulator,
    /// What runs it.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// NUMA nodes that share memory and CPUs evenly.
    pub numa_nodes: u32,
    /// Its IOMMU.
    pub iommu: Iommu,
    /// Whether there is a device at [`DEVICE_ADDRESS`]: QEMU's edu.
    pub device: bool,
    /// The outgoing kernel's image.
    pub kernel: PathBuf,
    /// Its initramfs, if any.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub cmdline: String,
    /// File that gets what the guest prints on its serial console.
    pub serial: PathBuf,
    /// File that gets QEMU's own messages.
    pub messages: PathBuf,
    /// Folder the guest mounts by the tag `lab`, if any.
    pub share: Option<PathBuf>,
    /// File behind the guest's mailbox, if it has one: a file of [`MAILBOX_BYTES`].
    pub mailbox: Option<PathBuf>,
    /// Socket outside for the guest's stream, if it has one. The machine starts when somebody connects.
    pub live: Option<PathBuf>,
    /// Time is a function of the instructions executed; emulation only.
    pub deterministic: bool,
    /// Counting of the instructions it executes, if it is asked for; right only for a deterministic one.
    pub counting: Option<Counting>,
    /// Images of its disks. A machine with disks may be booted again; without, that is its end.
    pub disks: Vec<PathBuf>,
}

/// How a machine counts its instructions.
#[derive(Debug, Clone)]
pub struct Counting {
    /// The plugin: `lab-plugin`, built.
    pub plugin: PathBuf,
    /// File that gets the counts.
    pub out: PathBuf,
    /// Addresses at which they are written.
    pub borders: Vec<u64>,
}

impl Machine {
    /// QEMU's arguments.
    pub fn arguments(&self) -> Vec<OsString> {
        let accel = match self.accel {
            Accel::Tcg if self.deterministic => "tcg,thread=single",
            Accel::Tcg => "tcg,thread=multi",
            Accel::Kvm => "kvm",
        };
        let cpu = match self.accel {
            Accel::Tcg => "max",
            // The TSC is the one clock that goes on across the kexec.
            Accel::Kvm => "host,+invtsc",
        };
        let mut arguments: Vec<OsString> =
            ["-no-user-config", "-nodefaults", "-display", "none"].map(Into::into).into();
        if self.disks.is_empty() {
            arguments.push("-no-reboot".into());
        }
        let mut option = |name: &str, value: &OsStr| arguments.extend([name.into(), value.into()]);
        // Interrupts can be remapped only if QEMU itself has the IO-APIC.
        let (chipset, iommu) = match self.iommu {
            Iommu::None => ("q35", None),
            Iommu::Intel => ("q35,kernel-irqchip=split", Some("intel-iommu,caching-mode=on,intremap=on")),
            Iommu::Amd => ("q35,kernel-irqchip=split", Some("amd-iommu,intremap=on,xtsup=on,dma-remap=on")),
        };
        option("-M", chipset.as_ref());
        // Before every other device, which then stands behind it.
        let device = if self.device { DEVICE.as_slice() } else { &[] };
        if self.iommu == Iommu::Amd {
            option("-blockdev", AMD_SOUTHBRIDGE[0].as_ref());
            option("-device", AMD_SOUTHBRIDGE[1].as_ref());
        }
        for device in iommu.iter().chain(device) {
            option("-device", device.as_ref());
        }
        option("-accel", accel.as_ref());
        option("-cpu", cpu.as_ref());
        option("-smp", self.cpus.to_string().as_ref());
        let node_mib = (self.memory_bytes >> 20) / u64::from(self.numa_nodes.max(1));
        option("-m", format!("{}M", node_mib * u64::from(self.numa_nodes.max(1))).as_ref());
        for node in (0..self.numa_nodes).filter(|_| self.numa_nodes > 1) {
            option("-object", format!("memory-backend-ram,id=node{node},size={node_mib}M").as_ref());
            option("-numa", numa_node(node, self.numa_nodes, self.cpus).as_ref());
        }
        option("-serial", &joined("file:", &self.serial));
        option("-kernel", self.kernel.as_os_str());
        if let Some(initrd) = &self.initrd {
            option("-initrd", initrd.as_os_str());
        }
        option("-append", self.cmdline.as_ref());
        for disk in &self.disks {
            let mut value = OsString::from("if=virtio,format=raw,file=");
            value.push(disk.to_string_lossy().replace(',', ",,"));
            option("-drive", &value);
        }
        if let Some(share) = &self.share {
            // What the guest's root creates must be root's for the guest. Where QEMU is no root, it notes that beside the
            // files: the profiler in the guest gives up the capability to write the files of others.
            let model = if rustix::process::geteuid().is_root() { "none" } else { "mapped-file" };
            let mut value =
                OsString::from(format!("local,mount_tag=lab,security_model={model},id=lab,path="));
            // A comma ends a value unless it is doubled.
            value.push(share.to_string_lossy().replace(',', ",,"));
            option("-virtfs", &value);
        }
        if let Some(socket) = &self.live {
            let mut value = OsString::from("socket,id=live,server=on,wait=on,path=");
            value.push(socket.to_string_lossy().replace(',', ",,"));
            option("-chardev", &value);
            option("-device", "virtio-serial-pci".as_ref());
            option("-device", format!("virtserialport,chardev=live,name={PORT}").as_ref());
        }
        if self.deterministic {
            // Two nanoseconds an instruction; an idle machine's clock jumps to its next timer.
            option("-icount", "shift=1,sleep=off,align=off".as_ref());
            option("-rtc", "base=2026-01-01T00:00:00,clock=vm".as_ref());
            option("-seed", "1".as_ref());
        }
        if let Some(Counting { plugin, out, borders }) = &self.counting {
            let mut value = OsString::from("file=");
            value.push(plugin.to_string_lossy().replace(',', ",,"));
            value.push(",out=");
            value.push(out.to_string_lossy().replace(',', ",,"));
            borders.iter().for_each(|border| value.push(format!(",border={border:x}")));
            option("-plugin", &value);
        }
        if let Some(mailbox) = &self.mailbox {
            let mut value = OsString::from(format!(
                "memory-backend-file,id=mailbox,share=on,size={MAILBOX_BYTES},mem-path="
            ));
            value.push(mailbox.to_string_lossy().replace(',', ",,"));
            option("-object", &value);
            option("-device", "ivshmem-plain,memdev=mailbox".as_ref());
        }
        arguments
    }

    /// Starts the machine.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(&self) -> Result<Vm> {
        let messages = fs::File::create(&self.messages)
            .with_context(|| format!("cannot write {}", self.messages.display()))?;
        let mut command = self.emulator.command()?;
        command.args(self.arguments()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
        exec::end_with_us(&mut command, libc::SIGKILL);
        let child = command.spawn().with_context(|| format!("cannot run QEMU {}", self.emulator.version))?;
        Ok(Vm { child })
    }
}

/// One node, with its part of the CPUs: each next to those that boot beside it.
fn numa_node(node: u32, nodes: u32, cpus: u32) -> String {
    let first = |node: u32| node * cpus / nodes;
    let own: String = (first(node)..first(node + 1)).map(|cpu| format!(",cpus={cpu}")).collect();
    format!("node,nodeid={node},memdev=node{node}{own}")
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut value = OsString::from(prefix);
    value.push(path);
    value
}

/// A running machine; killed when dropped.
#[derive(Debug)]
pub struct Vm {
    child: Child,
}

impl Vm {
    /// How QEMU ended, if it did.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot wait for QEMU")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // Either may fail only because it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_what_the_guest_needs() {
        let machine = Machine {
            emulator: Emulator::none(),
            accel: Accel::Tcg,
            cpus: 3,
            memory_bytes: 2 << 30,
            numa_nodes: 2,
            iommu: Iommu::Intel,
            device: true,
            kernel: "/k".into(),
            initrd: Some("/i".into()),
            cmdline: "a=b c".into(),
            serial: "/s,1".into(),
            messages: "/q".into(),
            share: Some("/x,y".into()),
            mailbox: None,
            live: Some("/l,1".into()),
            deterministic: false,
            counting: Some(Counting {
                plugin: "/p.so".into(),
                out: "/c,1".into(),
                borders: vec![0xa0, 0xffff_ffff_8100_0000],
            }),
            disks: vec!["/d,1".into()],
        };
        let arguments: Vec<String> =
            machine.arguments().into_iter().map(|argument| argument.into_string().unwrap()).collect();
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name).unwrap();
            arguments[at + 1].as_str()
        };
        assert_eq!((value("-smp"), value("-m"), value("-append")), ("3", "2048M", "a=b c"));
        assert_eq!(value("-object"), "memory-backend-ram,id=node0,size=1024M");
        let nodes: Vec<&String> = arguments.iter().filter(|argument| argument.starts_with("node,")).collect();
        assert_eq!(nodes, ["node,nodeid=0,memdev=node0,cpus=0", "node,nodeid=1,memdev=node1,cpus=1,cpus=2"]);
        assert_eq!(value("-serial"), "file:/s,1");
        assert_eq!(value("-chardev"), "socket,id=live,server=on,wait=on,path=/l,,1");
        assert!(value("-virtfs").ends_with("path=/x,,y"));
        assert_eq!(value("-plugin"), "file=/p.so,out=/c,,1,border=a0,border=ffffffff81000000");
        assert!(value("-drive").ends_with("file=/d,,1"));
        assert!(!arguments.iter().any(|argument| argument.contains("kvm")));
        let at = |device: &str| arguments.iter().position(|argument| argument.starts_with(device)).unwrap();
        assert!(at("intel-iommu") < at("edu"));
    }
}
