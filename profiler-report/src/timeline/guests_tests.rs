use profiler_common::vcpu::VcpuId;

use super::*;
use crate::stitch::Source;

fn exit(pid: u32, vcpu: u32, ticks: u64) -> LastExit {
    let id = VcpuId { pid, vcpu };
    LastExit {
        id,
        at: Moment::exact(ticks),
        still_ticks: Some(0),
        exits: 1,
        reason: 0x60,
        comm: format!("vmm-{pid}"),
    }
}

fn entry(pid: u32, vcpu: u32, ticks: u64) -> FirstEntry {
    let id = VcpuId { pid, vcpu };
    FirstEntry { id, at: Moment::exact(ticks), missed: false, comm: "vmm".to_owned() }
}

fn stay(pid: u32, exit: u64, ticks: u64, reason: u64) -> Stay {
    Stay { id: VcpuId { pid, vcpu: 0 }, exit: Moment::exact(exit), ticks, reason }
}

fn call(side: Side, pid: u32, name: &str, subject: &str, ticks: u64) -> Call {
    Call {
        side,
        name: name.to_owned(),
        kind: "luo".to_owned(),
        subject: subject.to_owned(),
        enter: Moment::exact(ticks),
        exit: None,
        cpu: None,
        pid: Some(pid),
        comm: None,
        retval: None,
        source: Source::Ebpf,
        carried: None,
        critical: false,
    }
}

fn watch(since: u64) -> Watch {
    Watch { since: Ok(since), runners: None, restore_began: None }
}

fn vcpus(exits: Vec<LastExit>, entries: Vec<FirstEntry>, stays: Vec<Stay>) -> Vcpus {
    Vcpus { written: Some(exits.len() as u64), exits, entries, stays, refused: 0 }
}

#[test]
fn the_window_is_from_the_last_to_stop_to_the_first_to_run() {
    let stays = vec![
        stay(9, 529, 22, 0x60),
        stay(9, 545, 10, 0x400),
        stay(9, 560, 12, 0x400),
        stay(9, 700, 100, 0x60),
    ];
    // The last to stop may have stood still for 30 before, the other has for long.
    let exits = vec![
        LastExit { still_ticks: Some(90), ..exit(1, 0, 100) },
        LastExit { still_ticks: Some(30), ..exit(1, 1, 140) },
    ];
    let seen = vcpus(exits, vec![entry(9, 1, 510), entry(9, 0, 505)], stays);
    let calls = [call(Side::Incoming, 9, "file-retrieve", "token 0x1", 400)];
    let guests = guests(&seen, &calls, &[], &watch(300));
    let [guest] = guests.as_slice() else { panic!("{guests:?}") };
    assert_eq!(
        (guest.identity, guest.status, guest.why.as_deref()),
        (Identity::Only, VmStatus::Measured, None)
    );
    let ticks = |moment: Option<Moment>| moment.map(|moment| moment.ticks);
    assert_eq!((ticks(guest.start), ticks(guest.end)), (Some(140), Some(600)));
    // It ran from 600 on, 95 after its first entry: before, an interrupt and faults threw it out. The shortest
    // stay is 10.
    assert_eq!(guest.switch_ticks, Some(95 + 10 + 30));
    assert_eq!(guest.name, "vmm-1");
}

#[test]
fn without_a_stay_in_which_it_ran_the_error_is_unknown() {
    // All recorded stays ended with a page that was not there.
    let stays = vec![stay(9, 545, 10, 0x400), stay(9, 590, 40, 0x400)];
    let seen = vcpus(vec![exit(1, 0, 100)], vec![entry(9, 0, 505)], stays);
    let calls = [call(Side::Incoming, 9, "file-retrieve", "token 0x1", 400)];
    let guest = &guests(&seen, &calls, &[], &watch(300))[0];
    assert_eq!((guest.status, guest.switch_ticks), (VmStatus::Measured, None));
    assert!(guest.why.as_ref().unwrap().starts_with("its error is not known"));
}

#[test]
fn two_guests_are_told_apart_by_their_sessions() {
    let seen =
        vcpus(vec![exit(1, 0, 100), exit(2, 0, 120)], vec![entry(8, 0, 500), entry(9, 0, 600)], Vec::new());
    let calls = [
        call(Side::Outgoing, 1, "session-create", "session small", 10),
        call(Side::Outgoing, 2, "session-create", "session large", 11),
        call(Side::Incoming, 8, "session-retrieve", "session large", 400),
        call(Side::Incoming, 9, "session-retrieve", "session small", 410),
    ];
    let guests = guests(&seen, &calls, &[], &watch(300));
    let names: Vec<_> = guests.iter().map(|g| (g.name.as_str(), g.outgoing_pid, g.incoming_pid)).collect();
    assert_eq!(names, [("small", Some(1), Some(9)), ("large", Some(2), Some(8))]);
    assert!(guests.iter().all(|guest| guest.preserved && guest.identity == Identity::Session));
}

#[test]
fn who_looked_too_late_claims_no_number() {
    let seen = || vcpus(vec![exit(1, 0, 100)], vec![entry(9, 0, 500)], Vec::new());
    let calls = [call(Side::Incoming, 9, "file-retrieve", "token 0x1", 400)];
    let status = |seen: &Vcpus, calls: &[Call], watch: &Watch| guests(seen, calls, &[], watch)[0].status;
    assert_eq!(status(&seen(), &calls, &watch(300)), VmStatus::Measured);
    assert_eq!(status(&seen(), &calls, &watch(450)), VmStatus::Bounded);
    // Its vCPU was made when they were watched.
    let created = [calls[0].clone(), call(Side::Incoming, 9, "vcpu-create", "", 460)];
    assert_eq!(status(&seen(), &created, &watch(450)), VmStatus::Measured);
    // A command that was started since: it restored this guest, if nothing had been restored before.
    let started = Watch { restore_began: Some(460), ..watch(450) };
    assert_eq!(status(&seen(), &[], &started), VmStatus::Measured);
    assert_eq!(status(&seen(), &calls, &started), VmStatus::Bounded);
    // It had run no vCPU then; another process may have.
    let runners = |runners: &[u32]| Watch { runners: Some(runners.to_vec()), ..watch(450) };
    assert_eq!(status(&seen(), &calls, &runners(&[8])), VmStatus::Measured);
    assert_eq!(status(&seen(), &calls, &runners(&[8, 9])), VmStatus::Bounded);
    // An exit without its entry: it had run.
    let missed = FirstEntry { missed: true, ..entry(9, 0, 500) };
    assert_eq!(
        status(&vcpus(vec![exit(1, 0, 100)], vec![missed], Vec::new()), &calls, &watch(300)),
        VmStatus::Bounded
    );
    // One last exit was lost on the way.
    let incomplete = Vcpus { written: Some(2), ..seen() };
    assert_eq!(status(&incomplete, &calls, &watch(300)), VmStatus::Bounded);
}

#[test]
fn a_guest_of_one_kernel_alone_says_so() {
    let stopped = vcpus(vec![exit(1, 0, 100)], Vec::new(), Vec::new());
    let restored = [call(Side::Incoming, 9, "file-retrieve", "token 0x1", 400)];
    assert_eq!(guests(&stopped, &restored, &[], &watch(300))[0].status, VmStatus::NotResumed);
    // It may have run, and ended, before anybody looked.
    assert_eq!(guests(&stopped, &restored, &[], &watch(450))[0].status, VmStatus::ResumeUnknown);
    let blind = Watch { since: Err("no kvm".to_owned()), runners: None, restore_began: None };
    assert_eq!(guests(&stopped, &[], &[], &blind)[0].status, VmStatus::ResumeUnknown);
    let new = vcpus(Vec::new(), vec![entry(9, 0, 500)], Vec::new());
    let guest = &guests(&new, &[], &[], &watch(300))[0];
    assert_eq!(
        (guest.status, guest.identity, guest.preserved),
        (VmStatus::StopUnknown, Identity::Process, false)
    );
}
