//! Process 1 under either kernel: the order of events. It ends in power-off, whatever happens.

use super::busy::LockHolder;
use super::console::say;
use super::exchange::Exchange;
use super::fleet::{self, Fleet};
use super::live::Live;
use super::observer::{self, Looking, ticks};
use super::workload::{self, Held};
use super::{RESTORE_COMMAND, mounts, process, results};
use crate::device::pci::PciDevice;
use crate::plan::{Fault, Observer, Plan, Workload};
use crate::result::{Command, LabResult, Outcome, Stage};
use anyhow::{Context, Result, anyhow};
use rustix::system::{RebootCommand, reboot, sethostname};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOST_NAME: &[u8] = b"blackout-lab";
const BLACKOUT: &str = "/bin/blackout";
const STATE: &str = "/host/state";
const KERNEL: &str = "/host/kernel";
const INITRD: &str = "/host/initrd";
const CHECK: &str = "/host/check.json";
/// What `blackout load` puts on the incoming kernel's command line, and nobody else anywhere.
const INCOMING_MARK: &str = "blackout.run=";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Outgoing,
    Incoming,
}

impl From<Side> for profiler_report::recording::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Outgoing => Self::Outgoing,
            Side::Incoming => Self::Incoming,
        }
    }
}

/// Runs the lab under this kernel.
pub fn main() -> ! {
    std::panic::set_hook(Box::new(|panic| {
        say(format_args!("error {panic}"));
        power_off(1);
    }));
    // Recordings carry the host's name; the kernel's own is "(none)".
    let _ = sethostname(HOST_NAME);
    for problem in mounts::pseudo() {
        say(format_args!("warning {problem}"));
    }
    match enter() {
        Ok(code) => power_off(code),
        Err(error) => {
            say(format_args!("error {error:#}"));
            power_off(1)
        }
    }
}

/// What fails in here, before the shared folder is there, can only be said on the console.
fn enter() -> Result<i32> {
    let command_line = std::fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?;
    let side = side(&command_line);
    say(if side == Side::Incoming { Stage::IncomingUp } else { Stage::OutgoingUp });
    let plan = Plan::read()?;
    if plan.deterministic {
        stay_on_one_cpu()?;
    }
    set_delays(&plan)?;
    let (mut run, ended) = match side {
        Side::Outgoing => {
            Exchange::of(&plan).open()?;
            let mut run = Run::new(side, Stage::OutgoingUp, &plan);
            let ended = outgoing(&mut run, &plan);
            (run, ended)
        }
        Side::Incoming => incoming(&plan)?,
    };
    let code = run.end(ended)?;
    run.exchange.close();
    Ok(code)
}

/// Keeps this process, and all it will start, on the first CPU: which of several a process runs on, and moves to,
/// follows from so little that two builds would differ everywhere.
fn stay_on_one_cpu() -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).context("cannot stay on the first CPU")
}

/// Not by the command line: kernels mix it into their random numbers (`random_init_early`, drivers/char/random.c,
/// 7.3), so that a build with a delay would differ from one without it in everything that is decided by chance.
fn set_delays(plan: &Plan) -> Result<()> {
    for (name, value) in &plan.delays {
        let parameter = format!("/sys/module/lab_luo/parameters/{name}");
        std::fs::write(&parameter, value).with_context(|| {
            format!("cannot write {parameter}: the kernel lacks the lab's driver lab_luo")
        })?;
    }
    Ok(())
}

/// The init of a kernel that came by a live update is told so on its command line.
fn side(command_line: &str) -> Side {
    let incoming = command_line.split_ascii_whitespace().any(|word| word.starts_with(INCOMING_MARK));
    if incoming { Side::Incoming } else { Side::Outgoing }
}

/// Returns only if the live update did not happen.
fn outgoing(run: &mut Run, plan: &Plan) -> Result<()> {
    if !plan.observer.is_blackout() {
        return unseen(run, plan);
    }
    if plan.check {
        run.command(check_command(plan))?;
    }
    let mut arm = vec![BLACKOUT, "arm", "--state", STATE];
    arm.extend((plan.observer == Observer::Hot).then_some("--hot"));
    run.command(arm)?;
    run.reached(Stage::Armed);
    give_devices_to_vfio(plan);
    if plan.fault != Some(Fault::NoImage) {
        run.command(load_command(plan))?;
        run.reached(Stage::Loaded);
    }
    // It ends with this kernel.
    let live = plan.serve.then(|| Live::start(BLACKOUT, STATE, plan.crowd)).transpose()?;
    live.iter().for_each(Live::ready);
    let _held = start_workload(run, plan)?;
    let mut fleet = Fleet::start(plan)?;
    fleet.preserve();
    run.reached(Stage::WorkloadReady);
    if plan.fault == Some(Fault::FreezeFails) {
        workload::refuse_freeze(plan)?;
    }
    let _lock = (plan.fault == Some(Fault::Busy)).then(LockHolder::start).transpose()?;
    fleet.befall(plan.fault);
    // What the host finds if nothing is heard of the incoming kernel.
    run.result.stage = Stage::Kexec;
    run.result.message = "the incoming kernel left no result".into();
    run.result.guests = fleet.results();
    results::store(&run.result, run.exchange)?;
    live.iter().for_each(Live::settle);
    say(Stage::Kexec);
    tell_clock();
    // The blackout begins: nothing stands between the pause and the jump.
    fleet.pause();
    let refused = run.command([BLACKOUT, "kexec", "--state", STATE]);
    fleet.resume();
    run.result.guests = fleet.judge();
    refused?;
    Err(anyhow!("`blackout kexec` came back with code 0"))
}

/// The same live update with another who looks, or nobody. Returns only if it did not happen.
fn unseen(run: &mut Run, plan: &Plan) -> Result<()> {
    observer::load(KERNEL, INITRD, INCOMING_MARK)?;
    run.reached(Stage::Loaded);
    let _looking = Looking::start(plan.observer, Side::Outgoing.into())?;
    let _held = start_workload(run, plan)?;
    run.result.stage = Stage::Kexec;
    run.result.message = "the incoming kernel left no result".into();
    results::store(&run.result, run.exchange)?;
    say(Stage::Kexec);
    tell_clock();
    Err(reboot(RebootCommand::Kexec).err().map_or_else(|| anyhow!("reboot(2) came back"), Into::into))
}

/// The workload's clock, up to here: what is said on the console is there whatever becomes of this kernel.
fn tell_clock() {
    observer::tell("preserving", workload::PRESERVING.load(Ordering::Relaxed));
    observer::tell("reboot", ticks());
}

/// As a host does when it starts: `blackout load` finds them. What cannot be given is told by the VMM that wants it.
fn give_devices_to_vfio(plan: &Plan) {
    for address in plan.guests.iter().filter_map(|guest| guest.device.as_deref()) {
        let _ = PciDevice::at(address).and_then(|device| device.give_to_vfio());
    }
}

fn check_command(plan: &Plan) -> Vec<&str> {
    let mut command = vec![BLACKOUT, "check", "--json", "--output", CHECK];
    command.extend(plan.stamp.then_some("--stamp"));
    command.extend(plan.trace_boot.then_some("--trace-boot"));
    command
}

fn load_command(plan: &Plan) -> Vec<&str> {
    let mut command = vec![BLACKOUT, "load", KERNEL, "--initrd", INITRD, "--state", STATE];
    if !plan.append_incoming.is_empty() {
        command.extend(["--append", &plan.append_incoming]);
    }
    if plan.stamp {
        command.push("--stamp");
    }
    if plan.trace_boot {
        command.push("--trace-boot");
    }
    command
}

/// In a deterministic run the probes are not loaded beside the restore: a nanosecond's difference before would decide
/// over how the two take turns.
fn collect_command<'a>(plan: &Plan, restore: &[&'a str]) -> Vec<&'a str> {
    let mut command = vec![BLACKOUT, "collect", "--state", STATE];
    command.extend(plan.deterministic.then_some("--probes-first"));
    command.extend((plan.observer == Observer::Hot).then_some("--hot"));
    command.push("--");
    command.extend(restore);
    command
}

/// What is returned must live until the kexec.
fn start_workload(run: &mut Run, plan: &Plan) -> Result<Option<Held>> {
    match &plan.workload {
        Workload::Luo(load) => workload::preserve(load, plan).map(Some),
        Workload::Custom => run.command(["/workload/outgoing"]).map(|()| None),
    }
}

/// Restores first. The share is mounted meanwhile: it is no part of what is measured.
fn incoming(plan: &Plan) -> Result<(Run, Result<()>)> {
    match plan.fault {
        // The kernel panics when init exits.
        Some(Fault::Panic) => std::process::exit(1),
        Some(Fault::Hang) => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        _ => {}
    }
    let exchange = Exchange::of(plan);
    let share = std::thread::Builder::new().name("share".into()).spawn(move || exchange.open())?;
    let live = plan.serve.then(|| Live::start(BLACKOUT, STATE, plan.crowd)).transpose()?;
    let mut run = Run::new(Side::Incoming, Stage::IncomingUp, plan);
    let restore: &[&str] = match plan.workload {
        Workload::Luo(_) => &["/init", RESTORE_COMMAND],
        Workload::Custom => &["/workload/incoming"],
    };
    observer::tell("look", ticks());
    let ended = if plan.observer.is_blackout() {
        run.command(collect_command(plan, restore))
    } else {
        let looking = Looking::start(plan.observer, Side::Incoming.into())?;
        let ended = run.command(restore.iter().copied());
        run.records().extend(looking.found()?);
        ended
    };
    if plan.observer == Observer::ThenBpftrace {
        observer::attach_as(Path::new(STATE))?;
    }
    if ended.is_ok() {
        run.reached(Stage::Restored);
    }
    share.join().map_err(|_| anyhow!("the thread that mounts the share panicked"))??;
    exchange.fetch()?;
    let before = results::load();
    run.result.guests = fleet::taken_over(before.as_ref().map_or(&[], |before| &before.guests));
    if let Some(before) = before {
        run.result.outgoing = before.outgoing;
    }
    // What befell a guest is the cause; that a command failed is the effect.
    let ended = fleet::complain(&run.result.guests).and(ended);
    // Its last line is the report, which it makes of the recording.
    if let Some(live) = live.filter(|_| ended.is_ok()) {
        live.finish();
    }
    Ok((run, ended))
}

/// One run as this side sees it.
struct Run {
    side: Side,
    exchange: Exchange,
    result: LabResult,
}

impl Run {
    fn new(side: Side, stage: Stage, plan: &Plan) -> Self {
        Run { side, exchange: Exchange::of(plan), result: LabResult { stage, ..LabResult::empty() } }
    }

    fn reached(&mut self, stage: Stage) {
        self.result.stage = stage;
        say(stage);
    }

    /// Runs a command and keeps its record.
    fn command<'a>(&mut self, argv: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let record = process::run(argv.into_iter().map(str::to_owned).collect());
        let ended = process::check(&record);
        self.records().push(record);
        ended.map_err(|message| anyhow!(message))
    }

    fn records(&mut self) -> &mut Vec<Command> {
        match self.side {
            Side::Outgoing => &mut self.result.outgoing,
            Side::Incoming => &mut self.result.incoming,
        }
    }

    /// Writes the result; an exit code.
    fn end(&mut self, ended: Result<()>) -> Result<i32> {
        let code = match ended {
            Ok(()) => {
                self.result.outcome = Outcome::Complete;
                self.result.message.clear();
                0
            }
            Err(error) => {
                say(format_args!("error {error:#}"));
                self.result.message = format!("{error:#}");
                1
            }
        };
        results::store(&self.result, self.exchange)?;
        Ok(code)
    }
}

fn power_off(code: i32) -> ! {
    rustix::fs::sync();
    say(format_args!("{} {code}", Stage::Done));
    // The kernel does not wait for a slow line before it switches the machine off.
    let _ = rustix::termios::tcdrain(std::io::stdout());
    // Returns only where the machine has no way to power off; the host then ends it by its deadline.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_tells_the_side() {
        assert!(side("console=ttyS0 blackout.run=5f quiet") == Side::Incoming);
        assert!(side("console=ttyS0 noblackout.run=5f") == Side::Outgoing);
    }

    #[test]
    fn the_plan_decides_what_is_loaded() {
        let mut plan = Plan::new(Workload::Custom);
        assert_eq!(load_command(&plan), [BLACKOUT, "load", KERNEL, "--initrd", INITRD, "--state", STATE]);
        plan.stamp = true;
        plan.trace_boot = true;
        plan.append_incoming = "a=1 b".into();
        assert_eq!(load_command(&plan)[7..], ["--append", "a=1 b", "--stamp", "--trace-boot"]);
    }
}
