//! One virtual machine in KVM: its memory, its vCPUs, each run by a thread of its own.

use super::boot;
use super::driver::DriverJournal;
use super::guest_device::{self, GuestDevice};
use super::journal::{JOURNAL_BYTES, Journal};
use super::layout;
use super::memory::SharedMemory;
use super::registers;
use super::state::{GuestState, VcpuState};
use super::vcpu::{Running, Vcpu};
use crate::device::passthrough::Passthrough;
use anyhow::{Context, Result, ensure};
use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, KVM_MAX_CPUID_ENTRIES, KVM_MP_STATE_RUNNABLE, kvm_enable_cap, kvm_mp_state,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VmFd};

/// Interrupt pins of the I/O APIC that user space would emulate; message-signalled interrupts need none.
const IOAPIC_PINS: u64 = 24;
/// Three pages for KVM on Intel processors, below the devices' hole and above any guest's memory.
const TSS_ADDRESS: usize = 0xfffb_d000;

/// A virtual machine.
pub struct Machine {
    name: String,
    kvm: Kvm,
    vm: VmFd,
    memory: SharedMemory,
    device: Option<GuestDevice>,
    /// At rest; empty while they run.
    resting: Vec<Vcpu>,
    running: Vec<Running>,
}

impl Machine {
    /// A machine with this memory and no vCPUs yet.
    ///
    /// # Errors
    /// When there is no KVM, or it cannot do what is needed.
    pub fn new(name: &str, memory: SharedMemory) -> Result<Self> {
        let kvm = Kvm::new().context("cannot open /dev/kvm: has the machine a processor with SVM or VMX?")?;
        let vm = kvm.create_vm().context("KVM_CREATE_VM")?;
        vm.set_tss_address(TSS_ADDRESS).context("KVM_SET_TSS_ADDR")?;
        let split =
            kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, args: [IOAPIC_PINS, 0, 0, 0], ..Default::default() };
        vm.enable_cap(&split).context("KVM_CAP_SPLIT_IRQCHIP")?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: memory.bytes(),
            userspace_addr: memory.host_address()?,
        };
        // SAFETY: the mapping is ours and lives as long as the machine, which holds it.
        unsafe { vm.set_user_memory_region(region) }.context("KVM_SET_USER_MEMORY_REGION")?;
        Ok(Self {
            name: name.into(),
            kvm,
            vm,
            memory,
            device: None,
            resting: Vec::new(),
            running: Vec::new(),
        })
    }

    /// Loads the guest's program and adds vCPUs that will run it from its beginning, on the host's own TSC.
    ///
    /// # Errors
    /// Names what KVM refused.
    pub fn boot(&mut self, vcpus: u32) -> Result<()> {
        boot::load(&self.memory)?;
        let supported =
            self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).context("KVM_GET_SUPPORTED_CPUID")?;
        for id in 0..vcpus {
            let fd =
                self.vm.create_vcpu(u64::from(id)).with_context(|| format!("cannot create vCPU {id}"))?;
            fd.set_cpuid2(&with_apic_id(supported.clone(), id)).context("KVM_SET_CPUID2")?;
            let reset = fd.get_sregs().context("KVM_GET_SREGS")?;
            fd.set_sregs(&boot::system_registers(reset)).context("KVM_SET_SREGS")?;
            fd.set_regs(&boot::registers(id)).context("KVM_SET_REGS")?;
            // All start at once: nobody sends the others a start-up interrupt.
            fd.set_mp_state(kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE }).context("KVM_SET_MP_STATE")?;
            registers::set_tsc_offset(&fd, 0)?;
            self.resting.push(Vcpu { id, fd });
        }
        Ok(())
    }

    /// Adds vCPUs that go on where `states` left off.
    ///
    /// # Errors
    /// Names the vCPU and what KVM refused.
    pub fn restore(&mut self, states: &[VcpuState]) -> Result<()> {
        for (id, state) in (0..).zip(states) {
            let fd =
                self.vm.create_vcpu(u64::from(id)).with_context(|| format!("cannot create vCPU {id}"))?;
            registers::restore(&self.kvm, &fd, state).with_context(|| format!("cannot restore vCPU {id}"))?;
            self.resting.push(Vcpu { id, fd });
        }
        Ok(())
    }

    /// Opens the PCI device at `address` and gives it to the guest, which hears of it from
    /// [`Machine::announce_device`].
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn open_device(&mut self, address: &str) -> Result<()> {
        self.device = Some(GuestDevice::open(address, &self.vm, &self.memory)?);
        Ok(())
    }

    /// Has the guest, which runs, begin to use its device, if it has one.
    ///
    /// # Errors
    /// When KVM does not take the interrupt.
    pub fn announce_device(&self) -> Result<()> {
        self.device.iter().try_for_each(|_| GuestDevice::announce(&self.vm))
    }

    /// Takes the device from the guest, which must be at rest, and closes it.
    ///
    /// # Errors
    /// When KVM does not let it go.
    pub fn close_device(&mut self) -> Result<()> {
        self.device.take().map_or(Ok(()), |device| device.close(&self.vm))
    }

    /// The open device, if the guest has one.
    pub fn device(&self) -> Option<&Passthrough> {
        self.device.as_ref().map(GuestDevice::passthrough)
    }

    /// What the guest's driver has written down so far.
    ///
    /// # Errors
    /// When the guest's memory ends before it.
    pub fn driver(&self) -> Result<DriverJournal> {
        guest_device::journal(&self.memory)
    }

    /// Lets all vCPUs run.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn run(&mut self) -> Result<()> {
        for vcpu in self.resting.drain(..) {
            self.running.push(vcpu.start(&self.name)?);
        }
        Ok(())
    }

    /// Stops all vCPUs; returns when the last has stopped.
    ///
    /// # Errors
    /// When a vCPU had stopped by itself: the guest crashed.
    pub fn pause(&mut self) -> Result<()> {
        self.running.iter().for_each(Running::ask_to_stop);
        for running in self.running.drain(..) {
            self.resting.push(running.stopped()?);
        }
        Ok(())
    }

    /// Finds a vCPU that stopped by itself.
    ///
    /// # Errors
    /// Says why it did; the others are stopped then.
    pub fn check_alive(&mut self) -> Result<()> {
        if self.running.iter().any(Running::is_over) { self.pause() } else { Ok(()) }
    }

    /// Whether a running vCPU is halted, or waits for anything else but a processor.
    pub fn is_asleep(&self, vcpu: usize) -> bool {
        self.running.get(vcpu).is_some_and(Running::is_asleep)
    }

    /// The state of the guest, which must be at rest.
    ///
    /// # Errors
    /// Names the vCPU and what KVM would not give.
    pub fn save(&self) -> Result<GuestState> {
        ensure!(self.running.is_empty(), "guest {} runs: its state cannot be saved", self.name);
        let save = |vcpu: &Vcpu| {
            let loops = self.journal(vcpu.id)?.loops;
            registers::save(&self.kvm, &vcpu.fd, loops)
                .with_context(|| format!("cannot save vCPU {}", vcpu.id))
        };
        let vcpus = self.resting.iter().map(save).collect::<Result<_>>()?;
        Ok(GuestState { name: self.name.clone(), memory_bytes: self.memory.bytes(), device: None, vcpus })
    }

    /// What a vCPU has written down so far.
    ///
    /// # Errors
    /// When the guest's memory ends before it.
    pub fn journal(&self, vcpu: u32) -> Result<Journal> {
        let mut bytes = [0; JOURNAL_BYTES];
        self.memory.read(layout::journal(vcpu), &mut bytes)?;
        Ok(Journal::decode(&bytes))
    }

    /// How many vCPUs there are.
    pub fn vcpus(&self) -> u32 {
        (self.resting.len() + self.running.len()) as u32
    }

    /// The guest's memory.
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

/// CPUID with this vCPU's own APIC id: leaf 1 has it in EBX, leaves 0xb and 0x1f in EDX.
fn with_apic_id(mut cpuid: CpuId, id: u32) -> CpuId {
    for entry in cpuid.as_mut_slice() {
        match entry.function {
            1 => entry.ebx = entry.ebx & 0x00ff_ffff | id << 24,
            0xb | 0x1f => entry.edx = id,
            _ => {}
        }
    }
    cpuid
}
