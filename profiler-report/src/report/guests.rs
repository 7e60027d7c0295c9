//! Guests in the report's own words, and what failed about them.

use super::{Failure, Vcpu, Vm, VmStatus, axis::Axis};
use crate::{
    catalogue::Place,
    evidence::mark::Mark,
    recording::Side,
    stitch::{Moment, Stitched},
    timeline::{Guest, GuestVcpu, Watch},
};

/// How the incoming kernel's vCPUs were watched.
pub fn watch(stitched: &Stitched) -> Watch {
    let coverage = stitched.incoming.coverage.as_ref();
    let entries =
        coverage.and_then(|coverage| coverage.probes.iter().find(|probe| probe.probe == "vcpu-entry"));
    let since = match entries {
        Some(probe) => probe.attached_tsc.ok_or_else(|| probe.error.clone().unwrap_or_default()),
        None => Err("the incoming kernel's half holds no such probe".to_owned()),
    };
    let began = stitched.incoming.commands.iter().map(|command| command.started_tsc).min();
    let runners = coverage.and_then(|coverage| coverage.vmms_at_attach.clone());
    Watch { since, runners, restore_began: began }
}

/// A guest's error beyond the clocks of its two ends: drift between the kernels, and world switches.
pub fn vm(guest: &Guest, drift_ns: impl Fn(u64) -> u64, axis: &Axis) -> Vm {
    let known =
        !matches!(guest.status, VmStatus::StopUnknown | VmStatus::NotResumed | VmStatus::ResumeUnknown);
    let ends = guest.start.zip(guest.end).filter(|_| known);
    let blackout_ns = ends.map(|(start, end)| axis.between(start, end));
    let switch_ns = guest.switch_ticks.map(|ticks| axis.error(ticks));
    let error = |(start, end): (Moment, Moment)| {
        let clocks = axis.error(start.error_ticks).saturating_add(axis.error(end.error_ticks));
        clocks.saturating_add(drift_ns(axis.between(start, end)))
    };
    let vcpu = |(id, vcpu): (&u32, &GuestVcpu)| {
        let (exit, entry) = (vcpu.exit.as_ref(), vcpu.entry.as_ref());
        let both = exit.map(|exit| exit.at).zip(entry.map(|entry| entry.at));
        Vcpu {
            id: *id,
            pause_ns: both.map(|(exit, entry)| axis.between(exit, entry)),
            error_ns: both.map(error),
            last_exit_ns: exit.map(|exit| axis.at(exit.at.ticks)),
            first_entry_ns: entry.map(|entry| axis.at(entry.at.ticks)),
            exits: exit.map(|exit| exit.exits),
        }
    };
    Vm {
        id: guest.name.clone(),
        name: guest.name.clone(),
        identity: guest.identity,
        status: guest.status,
        why: guest.why.clone(),
        blackout_ns,
        error_ns: match guest.status {
            // Of a bound: how far beyond it the truth may be.
            VmStatus::Bounded => ends.map(error),
            _ => ends.zip(switch_ns).map(|(ends, switch_ns)| error(ends).saturating_add(switch_ns)),
        },
        switch_ns,
        start_ns: guest.start.map(|at| axis.at(at.ticks)),
        end_ns: guest.end.map(|at| axis.at(at.ticks)),
        outgoing_pid: guest.outgoing_pid,
        incoming_pid: guest.incoming_pid,
        vcpus: guest.vcpus.iter().map(vcpu).collect(),
    }
}

/// The guest a mark is about: by its name, or by the process of its VMM. One that no vCPU was seen of has its name.
pub fn of_mark(mark: &Mark, side: Side, guests: &[Guest]) -> Option<String> {
    let is_its = |guest: &&Guest| {
        let pid = if side == Side::Outgoing { guest.outgoing_pid } else { guest.incoming_pid };
        mark.vm.as_ref().map_or(pid == Some(mark.pid), |name| *name == guest.name)
    };
    guests.iter().find(is_its).map(|guest| guest.name.clone()).or_else(|| mark.vm.clone())
}

/// Guests of the live update that did not run again, and vCPUs of those that did.
pub fn failures(guests: &[Guest]) -> Vec<Failure> {
    let failure = |message: String| Failure {
        kernel: Place::Incoming,
        function: "kvm_entry".to_owned(),
        session: None,
        token: None,
        errno: None,
        at_ns: None,
        message,
    };
    let mut failures = Vec::new();
    for guest in guests {
        if guest.status == VmStatus::NotResumed && guest.preserved {
            failures.push(failure(format!("guest {} never ran again", guest.name)));
        }
        if guest.end.is_none() || guest.start.is_none() {
            continue;
        }
        for (number, vcpu) in &guest.vcpus {
            if vcpu.entry.is_none() && vcpu.exit.as_ref().is_some_and(|exit| !exit.is_halt()) {
                failures.push(failure(format!("vcpu {number} of guest {} never ran again", guest.name)));
            }
        }
    }
    failures
}

/// Guests that stood still long before the update: their windows are true, and need an explanation.
pub fn notes(guests: &[Guest], host_start: Option<Moment>, axis: &Axis) -> Vec<String> {
    /// A pause of that much before reboot(2) is a decision, not a cost.
    const LONG_NS: u64 = 1_000_000_000;
    let mut notes = Vec::new();
    for guest in guests {
        if let (Some(start), Some(host)) = (guest.start, host_start)
            && let before = axis.between(start, host)
            && before >= LONG_NS
        {
            let before = crate::duration(before);
            notes.push(format!("guest {} stood still for {before} before reboot(2) was called", guest.name));
        }
        for (number, vcpu) in &guest.vcpus {
            if guest.end.is_some()
                && vcpu.entry.is_none()
                && vcpu.exit.as_ref().is_some_and(|exit| exit.is_halt())
            {
                notes.push(format!(
                    "vcpu {number} of guest {} was halted when it stopped, and had nothing to run since",
                    guest.name
                ));
            }
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Identity;

    fn guest(name: &str, outgoing_pid: u32) -> Guest {
        Guest {
            name: name.to_owned(),
            identity: Identity::Mark,
            preserved: true,
            outgoing_pid: Some(outgoing_pid),
            incoming_pid: Some(7),
            vcpus: [].into(),
            status: VmStatus::Measured,
            why: None,
            start: None,
            end: None,
            first_to_run: None,
            switch_ticks: None,
        }
    }

    #[test]
    fn a_mark_is_about_the_guest_it_names_or_that_of_its_process() {
        let guests = [guest("vm0", 5), guest("vm1", 6)];
        let of = |pid, vm: Option<&str>, side| {
            let vm = vm.map(str::to_owned);
            let mark = Mark { tsc: 1, monotonic_ns: 1, tsc_after: 1, pid, vm, name: "failed".to_owned() };
            of_mark(&mark, side, &guests)
        };
        assert_eq!(of(5, Some("vm1"), Side::Outgoing).as_deref(), Some("vm1"));
        assert_eq!(of(6, None, Side::Outgoing).as_deref(), Some("vm1"));
        assert_eq!(of(6, None, Side::Incoming), None);
        // It never ran a vCPU.
        assert_eq!(of(1, Some("vm2"), Side::Incoming).as_deref(), Some("vm2"));
    }
}
