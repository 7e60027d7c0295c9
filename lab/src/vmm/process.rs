//! The VMM's process, under either kernel: it does what init orders.

use super::control::{Answer, Control, Order};
use super::layout::PATTERN;
use super::machine::Machine;
use super::memory::SharedMemory;
use super::state::GuestState;
use crate::device::passthrough::Passthrough;
use crate::guest::luo::Session;
use crate::plan::{Fault, Guest, Plan};
use crate::result::{DeviceResult, GuestResult, VcpuResult};
use anyhow::{Context, Result, bail, ensure};
use profiler_mark::Marks;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

/// Token of the guest's memory in its session.
pub const MEMORY_TOKEN: u64 = 1;
/// Token of its vCPUs' state.
pub const STATE_TOKEN: u64 = 2;
/// Token of the passed-through device's file.
const VFIO_TOKEN: u64 = 3;
/// Token of its address space's.
const IOMMUFD_TOKEN: u64 = 4;
/// A token nobody preserves anything under.
const WRONG_TOKEN: u64 = 0xbad;

/// Room for the state: some 20 KiB a vCPU are needed.
const STATE_BYTES: u64 = 64 << 10;
/// Rounds a vCPU makes before it counts as running.
const LOOPS: u64 = 1000;
/// Pause between two looks at what is to happen. Sleeping leaves the vCPUs the processor.
const LOOK: Duration = Duration::from_millis(2);
/// Looks before anything is given up: ten minutes and more. They are counted, and not time: the clock runs on while the
/// emulator waits for a processor or is stopped.
const LOOKS: u32 = 300_000;
/// Looks in a row that find a vCPU asleep before it counts as halted. One that waits for a processor is not asleep, on a
/// machine however busy.
const ASLEEP_LOOKS: u32 = 1000;
/// Looks before the state of threads is read as well. A vCPU that runs needs fewer: reading costs time in the window.
const FIRST_LOOKS: u32 = 50;

/// What a VMM was started for.
pub struct Task<'a> {
    /// The lab's plan.
    pub plan: &'a Plan,
    /// This guest in it.
    pub index: u32,
    /// The guest itself.
    pub guest: &'a Guest,
    /// Init.
    pub control: &'a mut Control,
    /// The guest's session.
    pub session: Session,
    /// What the profiler is told.
    pub marks: Marks,
}

impl Task<'_> {
    /// Under the outgoing kernel: runs until the kernel is replaced, or init is gone.
    ///
    /// # Errors
    /// When the guest could not be run, preserved or paused.
    pub fn outgoing(mut self) -> Result<()> {
        let memory = SharedMemory::new(&self.guest.name, self.guest.memory_bytes)?;
        memory.fill(self.seed(), PATTERN)?;
        let room = STATE_BYTES * u64::from(self.guest.vcpus);
        let state = SharedMemory::new("state", room)?;
        // Mapped now, not while the guest waits.
        state.write(0, &vec![0; usize::try_from(room)?])?;
        let mut machine = Machine::new(&self.guest.name, memory)?;
        machine.boot(self.guest.vcpus)?;
        let mut device = self.guest.device.as_deref().map(DeviceResult::of);
        self.open_device(&mut machine)?;
        machine.run()?;
        // Rounds of each vCPU when it was last paused.
        let mut before = vec![0; self.guest.vcpus as usize];
        wait_for_loops(&mut machine, &before)?;
        self.marks.mark("vm-started")?;
        begin_with_device(&mut machine)?;
        self.control.send(&Answer::Running)?;
        while let Some(order) = self.control.receive()? {
            match order {
                Order::Preserve => {
                    self.preserve(&machine, &state)?;
                    if let (Some(device), Some(open)) = (&mut device, machine.device()) {
                        device.preserve = self.preserve_device(open)?;
                    }
                    self.control.send(&Answer::Preserved)?;
                }
                Order::Pause => {
                    self.marks.mark("pause-asked")?;
                    machine.pause()?;
                    if let Some(device) = &mut device {
                        device.irqs_before = machine.driver()?.interrupts;
                    }
                    let saved = GuestState { device: device.clone(), ..machine.save()? };
                    state.write(0, &saved.encode())?;
                    self.marks.mark("state-saved")?;
                    before = saved.vcpus.iter().map(|vcpu| vcpu.loops).collect();
                    if device.is_some() {
                        machine.close_device()?;
                        self.marks.mark("device-closed")?;
                    }
                    self.control.send(&Answer::Paused)?;
                }
                Order::Resume => {
                    self.open_device(&mut machine)?;
                    machine.run()?;
                    wait_for_loops(&mut machine, &before)?;
                    self.marks.mark("vm-running")?;
                    begin_with_device(&mut machine)?;
                    self.control.send(&Answer::Running)?;
                }
                Order::Judge => {
                    machine.pause()?;
                    self.control.send(&Answer::Judged(Box::new(self.judge(
                        &machine,
                        &before,
                        device.clone(),
                    )?)))?;
                }
            }
        }
        Ok(())
    }

    /// The guest goes on running: its pages stay where they are, and what it writes to them is carried along
    /// (`memfd_luo_preserve`, mm/memfd_luo.c, pins them). The state's pages are written at the pause.
    fn preserve(&self, machine: &Machine, state: &SharedMemory) -> Result<()> {
        let smaller;
        let memory = match self.fault(Fault::ResizedMemory) {
            true => {
                smaller = SharedMemory::new("smaller", self.guest.memory_bytes / 2)?;
                &smaller
            }
            false => machine.memory(),
        };
        let preserve = |memory: &SharedMemory, token| {
            self.session
                .preserve(memory.as_fd(), token)
                .with_context(|| format!("cannot preserve token {token:#x}"))
        };
        preserve(memory, MEMORY_TOKEN)?;
        preserve(state, STATE_TOKEN)
    }

    /// Under the incoming kernel: restores the guest, runs it, and judges.
    ///
    /// # Errors
    /// Names what was not as it was left.
    pub fn incoming(mut self) -> Result<()> {
        self.marks.mark("restore-begun")?;
        let token = if self.fault(Fault::WrongToken) { WRONG_TOKEN } else { MEMORY_TOKEN };
        let memory = self.retrieve(token)?;
        let state = self.retrieve(STATE_TOKEN)?;
        let mut bytes = vec![0; usize::try_from(state.bytes())?];
        state.read(0, &mut bytes)?;
        let mut state = GuestState::decode(&bytes)
            .with_context(|| format!("the state of its vCPUs (token {STATE_TOKEN:#x}) cannot be used"))?;
        ensure!(state.name == self.guest.name, "the state is that of guest `{}`", state.name);
        ensure!(
            memory.bytes() == state.memory_bytes,
            "its memory (token {token:#x}) has {} bytes, not {}",
            memory.bytes(),
            state.memory_bytes
        );
        if self.fault(Fault::StuckVcpu)
            && let Some(last) = state.vcpus.last_mut()
        {
            // Halted, and no interrupt will ever come.
            last.mp_state.mp_state = kvm_bindings::KVM_MP_STATE_HALTED;
        }
        let mut machine = Machine::new(&self.guest.name, memory)?;
        let _other = self.fault(Fault::DeviceBusy).then(|| self.take_device_away(&machine)).transpose()?;
        self.open_device(&mut machine)?;
        machine.restore(&state.vcpus)?;
        let before: Vec<u64> = state.vcpus.iter().map(|vcpu| vcpu.loops).collect();
        for (id, (journal, loops)) in journals(&machine)?.iter().zip(&before).enumerate() {
            let found = journal.loops;
            ensure!(found == *loops, "vCPU {id} had made {loops} rounds, and its memory says {found}");
        }
        machine.run()?;
        let running = wait_for_loops(&mut machine, &before);
        if running.is_ok() {
            self.marks.mark("vm-running")?;
        }
        self.session.finish().context("cannot finish its session")?;
        let running = running.and_then(|()| begin_with_device(&mut machine));
        if let Err(error) = running {
            let message = format!("{error:#}");
            self.marks.mark(&failed_mark(&message))?;
            // What did run is worth knowing.
            machine.pause()?;
            let result = self.judge(&machine, &before, state.device.clone())?;
            return self.control.send(&Answer::Judged(Box::new(GuestResult { message, ..result })));
        }
        self.control.send(&Answer::Running)?;
        while let Some(order) = self.control.receive::<Order>()? {
            ensure!(order == Order::Judge, "the incoming side only judges, it cannot {order:?}");
            machine.pause()?;
            self.control.send(&Answer::Judged(Box::new(self.judge(
                &machine,
                &before,
                state.device.clone(),
            )?)))?;
        }
        Ok(())
    }

    /// Gives the guest the device that the plan has for it.
    fn open_device(&mut self, machine: &mut Machine) -> Result<()> {
        let Some(address) = &self.guest.device else { return Ok(()) };
        machine.open_device(address)?;
        Ok(self.marks.mark("device-open")?)
    }

    /// The planted fault: whoever comes first has the device.
    fn take_device_away(&self, machine: &Machine) -> Result<Option<Passthrough>> {
        let memory = machine.memory();
        let open = |address| Passthrough::open(address, memory.as_fd(), memory.bytes());
        self.guest.device.as_deref().map(open).transpose()
    }

    /// Tries to have the device's files preserved, marks and gives what LUO said. Linux 7.3 takes neither.
    fn preserve_device(&mut self, open: &Passthrough) -> Result<String> {
        let mut said = Vec::new();
        for (name, file, token) in
            [("vfio", open.device.as_fd(), VFIO_TOKEN), ("iommufd", open.iommufd.as_fd(), IOMMUFD_TOKEN)]
        {
            said.push(match self.session.preserve(file, token) {
                Ok(()) => format!("{name} preserved"),
                // No handler knows this type of file (`luo_preserve_file`, kernel/liveupdate/luo_file.c, 7.3).
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    format!("{name} preserve refused: ENOENT")
                }
                Err(error) => format!("{name} preserve refused: {error}"),
            });
        }
        said.iter().try_for_each(|said| self.marks.mark(said))?;
        Ok(said.join("; "))
    }

    fn retrieve(&self, token: u64) -> Result<SharedMemory> {
        let file =
            self.session.retrieve(token).with_context(|| format!("cannot retrieve token {token:#x}"))?;
        SharedMemory::open(file).with_context(|| format!("token {token:#x}"))
    }

    /// What the guest, at rest, has to show.
    fn judge(
        &self,
        machine: &Machine,
        loops_before: &[u64],
        device: Option<DeviceResult>,
    ) -> Result<GuestResult> {
        let driver = machine.driver()?;
        let device = device.map(|device| DeviceResult {
            dma_ok: driver.right > 0 && driver.wrong == 0,
            irqs_after: driver.interrupts,
            ..device
        });
        let intact = machine.memory().check(self.seed(), PATTERN);
        let vcpus = (0..).zip(journals(machine)?).zip(loops_before).map(|((id, journal), &loops_before)| {
            VcpuResult {
                id,
                loops_before,
                loops_after: journal.loops,
                registers_lost: journal.lost,
                gaps: journal.gaps,
            }
        });
        Ok(GuestResult {
            name: self.guest.name.clone(),
            memory_bytes: machine.memory().bytes(),
            memory_intact: intact.is_ok(),
            huge_page_bytes: huge_page_bytes()?,
            vcpus: vcpus.collect(),
            device,
            message: intact.err().map(|error| format!("{error:#}")).unwrap_or_default(),
        })
    }

    /// Content of the guest's memory: another for every guest.
    fn seed(&self) -> u64 {
        0x6e5 << 32 | u64::from(self.index)
    }

    /// Faults of guests befall the first.
    fn fault(&self, fault: Fault) -> bool {
        self.index == 0 && self.plan.fault == Some(fault)
    }
}

/// What the profiler is told of a guest that cannot go on.
pub fn failed_mark(why: &str) -> String {
    format!("failed: {why}")
}

/// How much of this process's memory is mapped by huge pages of shared memory.
fn huge_page_bytes() -> Result<u64> {
    let path = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("ShmemPmdMapped:")?.trim().strip_suffix(" kB"));
    let kib: u64 = kib.with_context(|| format!("{path} has no line ShmemPmdMapped"))?.parse()?;
    Ok(kib.saturating_mul(1024))
}

fn journals(machine: &Machine) -> Result<Vec<super::journal::Journal>> {
    (0..machine.vcpus()).map(|vcpu| machine.journal(vcpu)).collect()
}

/// Waits until every vCPU has gone round since it had made so many rounds.
fn wait_for_loops(machine: &mut Machine, before: &[u64]) -> Result<()> {
    let behind = |machine: &Machine| -> Result<Option<usize>> {
        let journals = journals(machine)?;
        let slow = |(journal, before): (&super::journal::Journal, &u64)| {
            journal.loops < before.saturating_add(LOOPS)
        };
        Ok(journals.iter().zip(before).position(slow))
    };
    let (mut last, mut asleep) = (None, 0);
    for look in 0..LOOKS {
        machine.check_alive()?;
        let slow = behind(machine)?;
        let Some(id) = slow else { return Ok(()) };
        let halted = look >= FIRST_LOOKS && machine.is_asleep(id);
        asleep = if halted && slow == last { asleep + 1 } else { 0 };
        if asleep == ASLEEP_LOOKS {
            break;
        }
        last = slow;
        sleep(LOOK);
    }
    match behind(machine)? {
        None => Ok(()),
        Some(id) => bail!("vCPU {id} does not run"),
    }
}

/// Has the guest use its device, if it has one, and waits until it has copied something with it.
fn begin_with_device(machine: &mut Machine) -> Result<()> {
    if machine.device().is_none() {
        return Ok(());
    }
    let before = machine.driver()?.right;
    machine.announce_device()?;
    for _ in 0..LOOKS {
        machine.check_alive()?;
        if machine.driver()?.right > before {
            return Ok(());
        }
        sleep(LOOK);
    }
    bail!("its device does not answer: {:?}", machine.driver()?)
}
