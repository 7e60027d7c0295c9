use std::collections::BTreeMap;

use super::*;
use crate::{evidence::mark::Mark, recording::Side, stitch::Moment, timeline::Identity};

fn guest(name: &str, start: u64, end: u64, status: VmStatus) -> Guest {
    Guest {
        name: name.to_owned(),
        identity: Identity::Mark,
        preserved: true,
        outgoing_pid: Some(1),
        incoming_pid: Some(2),
        vcpus: BTreeMap::new(),
        status,
        why: (status != VmStatus::Measured).then(|| "it ran before".to_owned()),
        start: Some(Moment::exact(start)),
        end: Some(Moment::exact(end)),
        first_to_run: None,
        switch_ticks: None,
    }
}

fn mark(name: &str, vm: &str, ticks: u64) -> Sighting {
    let mark = Mark {
        tsc: ticks,
        monotonic_ns: 0,
        tsc_after: ticks,
        pid: 1,
        vm: Some(vm.to_owned()),
        name: name.to_owned(),
    };
    Sighting {
        side: Side::Outgoing,
        at: Moment::exact(ticks),
        cpu: None,
        pid: None,
        what: What::Mark { mark },
    }
}

fn host(kind: WindowKind) -> Option<Ends> {
    let (starts_with, ends_with) = ("reboot".to_owned(), "finish".to_owned());
    Some(Ends { start: Moment::exact(100), end: Moment::exact(900), starts_with, ends_with, kind })
}

fn two() -> [Guest; 2] {
    [guest("large", 40, 800, VmStatus::Measured), guest("small", 60, 700, VmStatus::Measured)]
}

fn ticks(chosen: &Chosen) -> Option<(u64, u64)> {
    chosen.ends.as_ref().map(|ends| (ends.start.ticks, ends.end.ticks))
}

/// Its definition, and its ends in ticks.
type Window = (&'static str, Option<(u64, u64)>);

fn ask(choice: Choice, guests: &[Guest], sightings: &[Sighting]) -> Result<Window, ChoiceError> {
    choose(&choice, guests, sightings, host(WindowKind::Whole))
        .map(|chosen| (chosen.definition, ticks(&chosen)))
}

#[test]
fn the_longest_known_guest_is_the_default() {
    let auto = Choice::default;
    assert_eq!(ask(auto(), &two(), &[]), Ok(("vm", Some((40, 800)))));
    assert_eq!(ask(auto(), &[], &[]), Ok(("host", Some((100, 900)))));
    let [large, small] = two();
    let large = Guest { status: VmStatus::Bounded, why: Some("late".to_owned()), ..large };
    let guests = [large, small];
    let chosen = choose(&auto(), &guests, &[], host(WindowKind::Whole)).unwrap();
    assert_eq!(ticks(&chosen), Some((60, 700)));
    assert!(chosen.note.unwrap().contains("large: late"));
    let chosen = choose(&auto(), &guests[..1], &[], host(WindowKind::Whole)).unwrap();
    assert_eq!((chosen.definition, ticks(&chosen)), ("host", Some((100, 900))));
    assert!(chosen.note.unwrap().contains("large: late"));
    // A kexec that was refused paused nobody for as long as a live update.
    let guests = two();
    let chosen = choose(&auto(), &guests, &[], host(WindowKind::Returned)).unwrap();
    assert_eq!(chosen.definition, "host");
}

#[test]
fn what_is_asked_for_is_given_or_refused() {
    let vm = |name: &str| Choice { vm: Some(name.to_owned()), ..Choice::default() };
    assert_eq!(ask(vm("small"), &two(), &[]), Ok(("vm", Some((60, 700)))));
    let error = ask(vm("other"), &two(), &[]).unwrap_err().to_string();
    assert_eq!(error, "the recording has no guest \"other\"; it has large, small");
    let late = [guest("late", 1, 2, VmStatus::Bounded)];
    let error = ask(vm("late"), &late, &[]).unwrap_err().to_string();
    assert_eq!(error, "the window of guest \"late\" is not known: it ran before");
    let host = Choice { window: WindowChoice::Host, ..vm("small") };
    assert_eq!(ask(host, &two(), &[]), Ok(("host", Some((100, 900)))));
    let any = Choice { window: WindowChoice::Vm, ..Choice::default() };
    assert!(ask(any, &[], &[]).unwrap_err().to_string().contains("no vCPU was seen"));
}

#[test]
fn marks_move_the_ends() {
    let marks = [
        mark("asked", "large", 30),
        mark("asked", "small", 50),
        mark("runs", "small", 720),
        mark("runs", "large", 820),
    ];
    let from = |name: &str| Choice { from_mark: Some(name.to_owned()), ..Choice::default() };
    assert_eq!(ask(from("asked"), &two(), &marks), Ok(("marks", Some((30, 800)))));
    let both = Choice { to_mark: Some("runs".to_owned()), ..from("asked") };
    assert_eq!(ask(both.clone(), &two(), &marks), Ok(("marks", Some((30, 820)))));
    let small = Choice { vm: Some("small".to_owned()), ..both };
    assert_eq!(ask(small, &two(), &marks), Ok(("marks", Some((50, 720)))));
    let error = ask(from("never"), &two(), &marks).unwrap_err().to_string();
    assert_eq!(error, "the recording has no mark \"never\"; it has asked, runs");
    let turned = Choice { to_mark: Some("asked".to_owned()), ..from("runs") };
    assert!(matches!(ask(turned, &two(), &marks), Err(ChoiceError::Backwards { .. })));
}
