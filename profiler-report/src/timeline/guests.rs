//! Guests: each with its vCPUs, its own window, and what is not known of it.

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::vcpu::RUNS;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, Identity,
    identity::{self, Known},
};
use crate::{
    recording::Side,
    stitch::{FirstEntry, LastExit, Moment, Sighting, Stay, Vcpus},
};

/// Both ends are known, and their error is not.
const NO_RUN_SEEN: &str = "its error is not known: no stay in the guest was recorded in which it surely ran";

/// How much of a guest's window is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VmStatus {
    /// Both ends.
    Measured,
    /// It may have run before anybody looked: its window is not longer than this.
    Bounded,
    /// It stopped, and did not run again while the incoming kernel was watched.
    NotResumed,
    /// It stopped; whether it ran again, nobody saw.
    ResumeUnknown,
    /// It runs in the incoming kernel, but nobody saw it stop.
    StopUnknown,
}

/// One guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Guest {
    /// Its name: of its marks, else of its session, else of its VMM's process. Unique.
    pub name: String,
    /// What ties its halves.
    pub identity: Identity,
    /// Its VMM takes part in the live update, as far as is known.
    pub preserved: bool,
    /// Process of its VMM in the outgoing kernel.
    pub outgoing_pid: Option<u32>,
    /// Process of its VMM in the incoming kernel.
    pub incoming_pid: Option<u32>,
    /// Its vCPUs by number.
    pub vcpus: BTreeMap<u32, GuestVcpu>,
    /// How much of its window is known.
    pub status: VmStatus,
    /// Why not all.
    pub why: Option<String>,
    /// Last exit of the last of its vCPUs to stop.
    pub start: Option<Moment>,
    /// First entry of the first of them to run: the one behind which it surely ran, where that is known.
    pub end: Option<Moment>,
    /// The vCPU of that entry.
    pub first_to_run: Option<u32>,
    /// What the guest may see beyond its ends, ticks: `switch_ticks`.
    pub switch_ticks: Option<u64>,
}

/// One vCPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuestVcpu {
    /// Its last exit in the outgoing kernel.
    pub exit: Option<LastExit>,
    /// Its first entry in the incoming kernel.
    pub entry: Option<FirstEntry>,
}

/// What is known of the looking itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// When the incoming kernel's entries began to be watched; `None` if they were not, and why.
    pub since: Result<u64, String>,
    /// Processes that may have run a vCPU before; `None` if that is not known.
    pub runners: Option<Vec<u32>>,
    /// When the recorder's command was started, which may be what restores.
    pub restore_began: Option<u64>,
}

/// All guests, the longest window first.
pub fn guests(vcpus: &Vcpus, calls: &[Call], sightings: &[Sighting], watch: &Watch) -> Vec<Guest> {
    let known = identity::known(calls, sightings);
    let of = |side: Side, pid: u32| known.get(&(side, pid)).cloned().unwrap_or_default();
    let processes = |side: Side, pids: BTreeSet<u32>| -> Vec<(u32, Known)> {
        pids.into_iter().map(|pid| (pid, of(side, pid))).collect()
    };
    let before = processes(Side::Outgoing, vcpus.exits.iter().map(|exit| exit.id.pid).collect());
    let after = processes(Side::Incoming, vcpus.entries.iter().map(|entry| entry.id.pid).collect());
    let pairs = identity::pair(&before, &after);
    let paired = pairs.iter().map(|(old, new, by)| (Some(*old), Some(*new), *by));
    let alone = |pid: &u32| pairs.iter().all(|(old, ..)| old != pid);
    let lost = before.iter().filter(|(pid, _)| alone(pid));
    let new = after.iter().filter(|(pid, _)| pairs.iter().all(|(_, new, _)| new != pid));
    let halves = paired
        .chain(lost.map(|(pid, _)| (Some(*pid), None, Identity::Process)))
        .chain(new.map(|(pid, _)| (None, Some(*pid), Identity::Process)));
    let mut guests: Vec<Guest> = halves
        .map(|(old, new, identity)| {
            let known = [old.map(|pid| of(Side::Outgoing, pid)), new.map(|pid| of(Side::Incoming, pid))];
            let mut guest = Guest::new(vcpus, old, new, identity, known.into_iter().flatten().collect());
            guest.judge(vcpus, calls, watch);
            guest
        })
        .collect();
    let length = |guest: &Guest| Some(guest.end?.ticks.saturating_sub(guest.start?.ticks));
    guests.sort_by(|a, b| length(b).cmp(&length(a)).then_with(|| a.name.cmp(&b.name)));
    distinct(&mut guests);
    guests
}

impl Guest {
    fn new(vcpus: &Vcpus, old: Option<u32>, new: Option<u32>, identity: Identity, known: Vec<Known>) -> Self {
        let mut own: BTreeMap<u32, GuestVcpu> = BTreeMap::new();
        for exit in vcpus.exits.iter().filter(|exit| Some(exit.id.pid) == old) {
            own.entry(exit.id.vcpu).or_default().exit = Some(exit.clone());
        }
        for entry in vcpus.entries.iter().filter(|entry| Some(entry.id.pid) == new) {
            own.entry(entry.id.vcpu).or_default().entry.get_or_insert_with(|| entry.clone());
        }
        let marked = known.iter().find_map(|known| known.name.clone());
        let session = || known.iter().find_map(|known| known.sessions.first().cloned());
        let comm = || {
            let comms = own.values().flat_map(|vcpu| {
                let exit = vcpu.exit.as_ref().map(|exit| exit.comm.clone());
                exit.or_else(|| vcpu.entry.as_ref().map(|entry| entry.comm.clone()))
            });
            comms.into_iter().find(|comm| !comm.is_empty()).unwrap_or_else(|| "guest".to_owned())
        };
        let entries = own.iter().filter_map(|(number, vcpu)| Some((vcpu.entry.as_ref()?.at, *number)));
        let (end, first_to_run) = entries.min().unzip();
        Self {
            name: marked.or_else(session).unwrap_or_else(comm),
            identity,
            preserved: known.iter().any(Known::preserved),
            outgoing_pid: old,
            incoming_pid: new,
            start: own.values().filter_map(|vcpu| Some(vcpu.exit.as_ref()?.at)).max(),
            end,
            first_to_run,
            vcpus: own,
            status: VmStatus::Measured,
            why: None,
            switch_ticks: None,
        }
    }

    /// Finds out how much of the window can be claimed.
    fn judge(&mut self, all: &Vcpus, calls: &[Call], watch: &Watch) {
        let (status, why) = match (self.start, self.end, &watch.since) {
            (None, _, _) => {
                (VmStatus::StopUnknown, "its exits in the outgoing kernel did not come across".to_owned())
            }
            (_, None, Err(reason)) => {
                (VmStatus::ResumeUnknown, format!("nobody watched its entries: {reason}"))
            }
            (_, None, Ok(since)) if self.watched(calls, watch, *since) => {
                (VmStatus::NotResumed, "it did not run while the incoming kernel was watched".to_owned())
            }
            (_, None, Ok(_)) => (
                VmStatus::ResumeUnknown,
                "it may have run before its entries were watched; it did not since".to_owned(),
            ),
            _ if all.written != Some(all.exits.len() as u64) => (
                VmStatus::Bounded,
                "some vCPUs' last exits did not come across: it may have stopped later".to_owned(),
            ),
            _ if self.vcpus.values().any(|vcpu| vcpu.entry.as_ref().is_some_and(|entry| entry.missed)) => {
                (VmStatus::Bounded, "it ran before its entries were watched".to_owned())
            }
            (_, _, since) if !since.as_ref().is_ok_and(|since| self.watched(calls, watch, *since)) => {
                (VmStatus::Bounded, "it may have run before its entries were watched".to_owned())
            }
            _ => {
                let ran = ran(&all.stays, self);
                self.switch_ticks = ran.and_then(|(ran, _)| switch_ticks(&all.stays, self, ran));
                match self.switch_ticks {
                    Some(_) => (self.end, self.first_to_run) = ran.unzip(),
                    None => self.why = Some(NO_RUN_SEEN.to_owned()),
                }
                return;
            }
        };
        (self.status, self.why) = (status, Some(why));
    }

    /// Whether it cannot have run before its entries were watched: then nothing had been restored, or its vCPUs
    /// were not there yet, or had not left the guest yet (one that is inside is seen by its exit alone).
    fn watched(&self, calls: &[Call], watch: &Watch, since: u64) -> bool {
        let incoming = || calls.iter().filter(|call| call.side == Side::Incoming);
        let restores = |call: &&Call| matches!(call.name.as_str(), "file-retrieve" | "session-retrieve");
        let first = incoming().filter(restores).map(|call| call.enter.ticks).min();
        let own = |call: &&Call| call.pid.is_some() && call.pid == self.incoming_pid;
        let begins = |call: &&Call| restores(call) || call.name == "vcpu-create";
        let not_among = |runners: &Vec<u32>| self.incoming_pid.is_some_and(|pid| !runners.contains(&pid));
        // A command that was started behind the first of them is not what restores.
        let began = first.or(watch.restore_began);
        began.is_some_and(|began| began >= since)
            || watch.runners.as_ref().is_some_and(not_among)
            || incoming().filter(own).filter(begins).any(|call| call.enter.ticks >= since)
    }
}

/// The entry behind which the first of a guest's vCPUs ran, and that vCPU: after its first entry one may leave again several times
/// before it runs, for interrupts of the host (attaching the other probes sends some) and for each page that is not
/// mapped yet. It has run by the first stay behind the last such fault recorded that did not end with one and was
/// [`RUNS`] times as long as the shortest. `None` if no vCPU has such a stay.
fn ran(stays: &[Stay], guest: &Guest) -> Option<(Moment, u32)> {
    /// EPT violation and misconfiguration (arch/x86/include/uapi/asm/vmx.h), nested page fault (svm.h).
    const FAULTS: [u64; 3] = [48, 49, 0x400];
    let is_fault = |stay: &&Stay| FAULTS.contains(&stay.reason);
    let shortest = stays.iter().map(|stay| stay.ticks).min()?;
    let entries = guest.vcpus.values().filter_map(|vcpu| vcpu.entry.as_ref());
    let ran = entries.filter_map(|entry| {
        let own: Vec<&Stay> = stays.iter().filter(|stay| stay.id == entry.id).collect();
        let behind = own.iter().rposition(is_fault).map_or(0, |last| last + 1);
        let runs = own.iter().skip(behind).find(|stay| stay.ticks >= shortest.saturating_mul(RUNS))?;
        let at = Moment { ticks: runs.exit.ticks.saturating_sub(runs.ticks), ..runs.exit };
        Some((at, entry.id.vcpu))
    });
    ran.min()
}

/// How far the truth may be from [`Guest::start`] and `ran`: one world switch, the time since the first entry, in which
/// the guest may have run a little, and that before the last exit in which it may have stood still
/// ([`LastExit::still_ticks`]).
///
/// `kvm_entry` is before the switch into the guest and `kvm_exit` after the one out of it
/// (`svm_vcpu_run`, arch/x86/kvm/svm/svm.c, and `vmx_vcpu_run`, arch/x86/kvm/vmx/vmx.c, Linux 7.3), so the
/// shortest stay seen is no shorter than both switches together.
fn switch_ticks(stays: &[Stay], guest: &Guest, ran: Moment) -> Option<u64> {
    let shortest = stays.iter().map(|stay| stay.ticks).min()?;
    let exits = guest.vcpus.values().filter_map(|vcpu| vcpu.exit.as_ref());
    let stood = exits.map(|exit| Some(exit.at.ticks.saturating_sub(exit.still_ticks?)));
    // The guest stood still when the last of its vCPUs did.
    let still = guest.start?.ticks.saturating_sub(stood.max()??);
    let before = ran.ticks.saturating_sub(guest.end?.ticks);
    Some(before.saturating_add(shortest).saturating_add(still))
}

/// Makes equal names distinct by their process.
fn distinct(guests: &mut [Guest]) {
    let names: Vec<String> = guests.iter().map(|guest| guest.name.clone()).collect();
    for guest in guests {
        if names.iter().filter(|name| **name == guest.name).count() > 1 {
            let pid = guest.outgoing_pid.or(guest.incoming_pid).unwrap_or(0);
            let side = if guest.outgoing_pid.is_some() { "outgoing" } else { "incoming" };
            guest.name = format!("{} ({side} process {pid})", guest.name);
        }
    }
}

#[cfg(test)]
#[path = "guests_tests.rs"]
mod tests;
