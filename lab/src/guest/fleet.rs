//! The guests of this run, as init sees them: what luod and an orchestrator of VMMs do on a host. Sessions are
//! created and retrieved here, and handed to the VMMs.
//!
//! What goes wrong with one guest is kept as that guest's fate; the others go on.

use super::console::say;
use super::host::SPARED_NAME;
use super::luo::{Orchestrator, Session};
use crate::plan::{Fault, Guest, Plan};
use crate::result::GuestResult;
use crate::vmm::control::{Answer, Control, Order};
use crate::vmm::{COMMAND, Side, failed_mark};
use anyhow::{Context, Result, bail};
use profiler_mark::Marks;
use rustix::io::{FdFlags, fcntl_setfd};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;
use toolbox::program;

/// Where the restoring process leaves what became of the guests, for init.
const GUESTS_FILE: &str = "/run/lab-guests.json";
/// Whether memfds are made of huge pages (Documentation/admin-guide/mm/transhuge.rst); `never` by default.
const SHMEM_HUGE: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
/// Steps of one second in which a VMM must carry out an order. A VMM that dies is noticed at once; this limit ends the
/// run of one that hangs.
const ORDER_STEPS: u32 = 600;
/// Fault: how long before the live update a guest is paused.
const PAUSED_EARLY: Duration = Duration::from_secs(1);

/// All guests.
#[derive(Default)]
pub struct Fleet {
    members: Vec<Member>,
}

struct Member {
    name: String,
    /// `Err` once it is lost, and why.
    vmm: Result<Vmm, String>,
    result: Option<GuestResult>,
}

struct Vmm {
    process: Child,
    control: Control,
}

impl Fleet {
    /// Starts the guests under the outgoing kernel and waits until they run.
    ///
    /// # Errors
    /// When there are guests and no LUO.
    pub fn start(plan: &Plan) -> Result<Self> {
        if plan.guests.is_empty() {
            return Ok(Self::default());
        }
        allow_huge_pages(plan)?;
        let orchestrator = super::workload::open_orchestrator()?;
        let session = |guest: &Guest| {
            let lost = plan.fault == Some(Fault::MissingSession) && guest.name == plan.guests[0].name;
            let name = if lost { format!("{}-lost", guest.name) } else { guest.name.clone() };
            orchestrator.create(&name).with_context(|| format!("cannot create session `{name}`"))
        };
        let mut fleet = Self::spawn(plan, Side::Outgoing, session);
        fleet.expect(&Answer::Running);
        Ok(fleet)
    }

    /// Retrieves the guests' sessions under the incoming kernel and starts VMMs that restore them; does not wait.
    ///
    /// # Errors
    /// When the guests' memory is to be of huge pages, and this kernel has none.
    pub fn restore(plan: &Plan, orchestrator: &Orchestrator) -> Result<Self> {
        allow_huge_pages(plan)?;
        let session = |guest: &Guest| {
            let name = &guest.name;
            orchestrator.retrieve(name).with_context(|| format!("cannot retrieve session `{name}`"))
        };
        Ok(Self::spawn(plan, Side::Incoming, session))
    }

    fn spawn(plan: &Plan, side: Side, session: impl Fn(&Guest) -> Result<Session>) -> Self {
        let member = |(index, guest): (u32, &Guest)| {
            let mut member = Member { name: guest.name.clone(), vmm: Err(String::new()), result: None };
            match session(guest).and_then(|session| Vmm::start(side, index, session)) {
                Ok(vmm) => member.vmm = Ok(vmm),
                Err(error) => member.lose(format!("{error:#}")),
            }
            member
        };
        Self { members: (0..).zip(&plan.guests).map(member).collect() }
    }

    /// Has everything preserved that can be while the guests run.
    pub fn preserve(&mut self) {
        self.order(&Order::Preserve);
        self.expect(&Answer::Preserved);
    }

    /// Pauses the guests and has their state saved: the blackout begins.
    pub fn pause(&mut self) {
        self.order(&Order::Pause);
        self.expect(&Answer::Paused);
    }

    /// Lets paused guests run again: the live update was called off.
    pub fn resume(&mut self) {
        self.order(&Order::Resume);
        self.expect(&Answer::Running);
    }

    /// Waits until restored guests run, and has each say how it fared.
    pub fn judge(&mut self) -> Vec<GuestResult> {
        self.order(&Order::Judge);
        for member in &mut self.members {
            member.hear(|answer| match answer {
                Answer::Judged(result) => Ok(Some(*result)),
                other => Err(other),
            });
        }
        self.results()
    }

    /// Waits until restored guests run.
    pub fn wait_until_running(&mut self) {
        self.expect(&Answer::Running);
    }

    /// Plants the faults that befall a guest between its preservation and the live update.
    pub fn befall(&mut self, fault: Option<Fault>) {
        let Some(first) = self.members.first_mut() else { return };
        match fault {
            Some(Fault::VmmDies) => {
                if let Ok(vmm) = &mut first.vmm {
                    // Its end is heard as the end of its socket.
                    let _ = vmm.process.kill();
                }
                first.hear(Err);
            }
            Some(Fault::PausedEarly) => {
                first.say(&Order::Pause);
                first.expect(&Answer::Paused);
                std::thread::sleep(PAUSED_EARLY);
            }
            _ => {}
        }
    }

    /// What became of each guest so far.
    pub fn results(&self) -> Vec<GuestResult> {
        let result = |member: &Member| match (&member.result, &member.vmm) {
            (Some(result), _) => result.clone(),
            (None, Err(lost)) => GuestResult::lost(&member.name, lost.clone()),
            (None, Ok(_)) => GuestResult::lost(&member.name, String::new()),
        };
        self.members.iter().map(result).collect()
    }

    fn order(&mut self, order: &Order) {
        self.members.iter_mut().for_each(|member| member.say(order));
    }

    fn expect(&mut self, expected: &Answer) {
        self.members.iter_mut().for_each(|member| member.expect(expected));
    }
}

/// In either kernel: pages that were preserved whole are also to be mapped whole.
fn allow_huge_pages(plan: &Plan) -> Result<()> {
    match plan.guests.iter().any(|guest| guest.huge_pages) {
        true => fs::write(SHMEM_HUGE, "always").with_context(|| format!("cannot write {SHMEM_HUGE}")),
        false => Ok(()),
    }
}

impl Member {
    fn say(&mut self, order: &Order) {
        if let Ok(vmm) = &self.vmm
            && let Err(error) = vmm.control.send(order)
        {
            self.lose(format!("its VMM is gone: {error:#}"));
        }
    }

    fn expect(&mut self, expected: &Answer) {
        self.hear(|answer| if answer == *expected { Ok(None) } else { Err(answer) });
    }

    /// Waits for an answer; one that `take` gives back is the guest's end.
    fn hear(&mut self, take: impl FnOnce(Answer) -> Result<Option<GuestResult>, Answer>) {
        let Ok(vmm) = &mut self.vmm else { return };
        match vmm.control.receive::<Answer>() {
            Ok(Some(answer)) => match take(answer) {
                Ok(None) => {}
                Ok(result) => self.result = result,
                // It has told the profiler itself.
                Err(Answer::Failed(message)) => self.vmm = Err(message),
                Err(Answer::Judged(result)) => {
                    self.vmm = Err(result.message.clone());
                    self.result = Some(*result);
                }
                Err(other) => self.lose(format!("its VMM says {other:?}")),
            },
            Ok(None) => self.lose("its VMM died".into()),
            Err(error) => self.lose(format!("its VMM is silent: {error:#}")),
        }
    }

    /// Its VMM says nothing more, or never was: the profiler hears it from here.
    fn lose(&mut self, why: String) {
        let pid = self.vmm.as_ref().map_or(std::process::id(), |vmm| vmm.process.id());
        let marked = Marks::open(pid, Some(&self.name)).and_then(|mut marks| marks.mark(&failed_mark(&why)));
        if let Err(error) = marked {
            say(format_args!("warning guest {}: {error}", self.name));
        }
        self.vmm = Err(why);
    }
}

impl Vmm {
    fn start(side: Side, index: u32, session: Session) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a socket pair")?;
        // Handed down by its number; we drop ours, so that the session ends with the VMM, as it does on a host.
        fcntl_setfd(session.as_fd(), FdFlags::empty())?;
        let process = program::command("/proc/self/exe")
            .arg0(SPARED_NAME)
            .args([COMMAND, side.word(), &index.to_string(), &session.as_fd().as_raw_fd().to_string()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .context("cannot start a VMM")?;
        drop(session);
        let mut control = Control::new(ours);
        control.limit_waits(ORDER_STEPS)?;
        Ok(Self { process, control })
    }
}

/// Leaves the results for init, and tells of the first guest that something is wrong with.
///
/// # Errors
/// That guest's fate.
pub fn hand_over(results: &[GuestResult]) -> Result<()> {
    let text = serde_json::to_vec(results)?;
    fs::write(GUESTS_FILE, text).with_context(|| format!("cannot write {GUESTS_FILE}"))?;
    complain(results)
}

/// Tells of the first guest that something is wrong with.
///
/// # Errors
/// That guest's fate.
pub fn complain(results: &[GuestResult]) -> Result<()> {
    match results.iter().find_map(GuestResult::complaint) {
        Some(complaint) => bail!(complaint),
        None => Ok(()),
    }
}

/// What the restoring process left; nothing if it left nothing. What the outgoing kernel's init knew of a guest
/// comes first: it is the cause of what the incoming one found.
pub fn taken_over(before: &[GuestResult]) -> Vec<GuestResult> {
    let after: Vec<GuestResult> =
        fs::read(GUESTS_FILE).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    merge(before, after)
}

fn merge(before: &[GuestResult], mut after: Vec<GuestResult>) -> Vec<GuestResult> {
    for guest in &mut after {
        let known = before.iter().find(|earlier| earlier.name == guest.name && !earlier.message.is_empty());
        if let Some(earlier) = known {
            guest.message = match guest.message.is_empty() {
                true => earlier.message.clone(),
                false => format!("{}; then {}", earlier.message, guest.message),
            };
        }
    }
    if after.is_empty() { before.to_vec() } else { after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_comes_before_what_it_led_to() {
        let lost = |name: &str, message: &str| GuestResult::lost(name, message.into());
        let before = [lost("vm0", "its VMM died"), lost("vm1", "")];
        let merged = merge(&before, vec![lost("vm0", "no session"), lost("vm1", "")]);
        let messages: Vec<&str> = merged.iter().map(|guest| guest.message.as_str()).collect();
        assert_eq!(messages, ["its VMM died; then no session", ""]);
        assert_eq!(merge(&before, vec![]).len(), 2);
    }
}
