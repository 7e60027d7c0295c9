use super::*;
use crate::{
    evidence::event::Event,
    timeline::testing::{call, event, log},
};
use proptest::prelude::*;

fn cell(from: u64, to: u64) -> Cell {
    Cell {
        id: "phase".into(),
        title: String::new(),
        place: Place::Incoming,
        begin: Moment::exact(from),
        end: Moment::exact(to),
        begins_with: String::new(),
        leaf: false,
    }
}

/// The path as `name from..to`, and the calls that lie on it.
fn path(calls: &[Call], sightings: &[Sighting], cell: &Cell) -> (Vec<String>, Vec<String>) {
    let tasks = Tasks::new(sightings);
    let paths = Paths::new(calls, &tasks, sightings);
    let links = paths.of(cell);
    let name = |index: Option<usize>| index.map_or("?", |index| calls[index].name.as_str());
    let told = links.iter().map(|link| format!("{} {}..{}", name(link.call), link.from.ticks, link.to.ticks));
    let on = paths.on(&links).into_iter().map(|index| calls[index].name.clone()).collect();
    (told.collect(), on)
}

#[test]
fn a_task_with_nested_calls_is_divided_by_the_innermost() {
    let calls = [
        call("outer", "luo", 1, 10, Some(90)),
        call("inner", "luo", 1, 30, Some(40)),
        call("beside", "luo", 2, 10, Some(95)),
        call("last", "luo", 1, 95, Some(100)),
    ];
    let (links, on) = path(&calls, &[], &cell(0, 100));
    assert_eq!(
        links,
        ["? 0..10", "outer 10..30", "inner 30..40", "outer 40..90", "? 90..95", "last 95..100"]
    );
    assert_eq!(on, ["outer", "inner", "last"]);
}

#[test]
fn what_a_kexec_never_returns_from_holds_all_that_follows() {
    let calls = [
        call("reboot-syscall", "reboot", 1, 5, None),
        call("session-serialize", "luo", 1, 20, None),
        call("freeze", "luo", 1, 30, Some(60)),
        call("next", "reboot", 1, 90, Some(95)),
    ];
    let (links, on) = path(&calls, &[], &cell(0, 90));
    assert_eq!(links, ["? 0..5", "reboot-syscall 5..30", "freeze 30..60", "reboot-syscall 60..90"]);
    assert_eq!(on, ["reboot-syscall", "freeze"]);
}

#[test]
fn the_slowest_of_the_threads_that_were_waited_for_is_on_the_path() {
    let node = |pid, to| call(NODE, "deferred-pages", pid, 20, Some(to));
    let calls = [node(30, 60), node(31, 80), call("driver", "initcall", 1, 90, Some(120))];
    let (links, on) = path(&calls, &[log(90, Some(1), "next phase")], &cell(10, 90));
    assert_eq!(links, ["? 10..20", "deferred-node 20..80", "? 80..90"]);
    assert_eq!(on, [NODE]);
}

#[test]
fn processes_are_followed_to_those_they_waited_for_and_to_those_that_made_them() {
    let fork = |at, pid, child| event(at, pid, Event::Fork { child });
    let exec = |at, pid, file: &str| event(at, pid, Event::Exec { file: file.into() });
    let end = |at, pid| event(at, pid, Event::End { comm: "x".into(), last: Some(true) });
    let sightings = [
        exec(5, 1, "/init"),
        fork(10, 1, 50),
        exec(12, 50, "/slow"),
        fork(14, 1, 51),
        exec(15, 51, "/quick"),
        end(20, 51),
        end(40, 50),
        fork(45, 1, 60),
        exec(50, 60, "/luod"),
        fork(55, 60, 61),
        exec(56, 61, "/helper"),
        end(75, 61),
    ];
    let mut calls = Tasks::new(&sightings).processes();
    // While its helper ran it did something itself.
    calls.push(call("luo-open", "luo", 60, 70, Some(90)));
    calls.push(call("luo-retrieve", "luo", 60, 95, Some(99)));
    let (links, on) = path(&calls, &sightings, &cell(0, 95));
    assert_eq!(
        links,
        [
            "? 0..5",
            "init 5..10",
            "slow 10..40",
            "init 40..45",
            "luod 45..70",
            "luo-open 70..90",
            "luod 90..95"
        ]
    );
    assert_eq!(on, ["init", "slow", "luod", "luo-open"]);
}

#[test]
fn without_a_task_at_its_end_there_is_no_path_and_the_dark_has_none() {
    assert!(path(&[], &[log(100, None, "line")], &cell(0, 100)).0.is_empty());
    let dark = Cell { place: Place::Jump, ..cell(0, 100) };
    assert!(path(&[call("x", "luo", 1, 0, Some(100))], &[], &dark).0.is_empty());
}

proptest! {
    #[test]
    fn a_path_fills_its_phase_without_hole_or_overlap(
        spans in proptest::collection::vec((0_u32..4, 0_u64..100, 0_u64..60), 1..40),
        forks in proptest::collection::vec((0_u64..100, 0_u32..4, 0_u32..4, 1_u64..50), 0..6),
        ending in 0_u32..4,
    ) {
        let mut sightings = Vec::new();
        for (at, pid, child, length) in forks {
            sightings.push(event(at, pid, Event::Fork { child }));
            sightings.push(event(at, child, Event::Exec { file: "/bin/x".into() }));
            sightings.push(event(at + length, child, Event::End { comm: "x".into(), last: Some(true) }));
        }
        sightings.sort_by_key(|sighting| sighting.at);
        let tasks = Tasks::new(&sightings);
        let mut calls = tasks.processes();
        calls.extend(spans.iter().map(|(pid, at, length)| call("n", "luo", *pid, *at, Some(at + length))));
        calls.push(call("ends", "luo", ending, 80, Some(90)));
        let links = Paths::new(&calls, &tasks, &sightings).of(&cell(20, 80));
        let mut at = 20;
        for link in &links {
            prop_assert_eq!(link.from.ticks, at);
            prop_assert!(link.to.ticks > at);
            at = link.to.ticks;
        }
        prop_assert_eq!(at, 80);
    }
}
