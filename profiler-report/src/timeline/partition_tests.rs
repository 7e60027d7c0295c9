use proptest::prelude::*;

use super::*;
use crate::{catalogue::CATALOGUE, recording::Side, stitch::Source, timeline::Call};

/// A call for every "enter" and "exit" milestone that the catalogue's phases begin or end with.
fn call(name: &str, side: Side, enter: u64, exit: u64) -> Call {
    Call {
        side,
        name: name.to_owned(),
        kind: "luo".to_owned(),
        subject: String::new(),
        enter: Moment::exact(enter),
        exit: Some(Moment::exact(exit)),
        cpu: None,
        pid: Some(1),
        comm: None,
        retval: None,
        source: Source::Ebpf,
        carried: None,
        critical: false,
    }
}

fn window(start: u64, end: u64, kind: WindowKind) -> Ends {
    Ends {
        start: Moment::exact(start),
        end: Moment::exact(end),
        starts_with: "start".to_owned(),
        ends_with: "end".to_owned(),
        kind,
    }
}

fn phases(text: &str) -> Vec<Phase> {
    #[derive(serde::Deserialize)]
    struct File {
        phase: Vec<Phase>,
    }
    toml::from_str::<File>(text).unwrap().phase
}

const THREE: &str = r#"
    [[phase]]
    id = "a"
    title = "A"
    kernel = "outgoing"
    begin = ["enter a"]
    end = ["exit a"]
    [[phase]]
    id = "b"
    title = "B"
    kernel = "outgoing"
    begin = ["enter b"]
    [[phase]]
    id = "c"
    title = "C"
    kernel = "incoming"
    begin = ["enter c"]
"#;

fn outline(cells: &[Cell]) -> Vec<(&str, u64, u64)> {
    cells.iter().map(|cell| (cell.id.as_str(), cell.begin.ticks, cell.end.ticks)).collect()
}

#[test]
fn a_phase_ends_where_the_next_begins() {
    let calls = [
        call("a", Side::Outgoing, 0, 8),
        call("b", Side::Outgoing, 10, 12),
        call("c", Side::Incoming, 20, 30),
    ];
    let cells =
        partition(&phases(THREE), &Milestones::new(&[], &calls, &[]), &window(0, 40, WindowKind::Whole));
    assert_eq!(outline(&cells), [("a", 0, 10), ("b", 10, 20), ("c", 20, 40)]);
}

#[test]
fn time_of_a_phase_that_was_not_seen_is_nobodys() {
    // b is missing: a is known to its own end, and no longer.
    let calls = [call("a", Side::Outgoing, 0, 8), call("c", Side::Incoming, 20, 30)];
    let milestones = Milestones::new(&[], &calls, &[]);
    let cells = partition(&phases(THREE), &milestones, &window(0, 40, WindowKind::Whole));
    assert_eq!(outline(&cells), [("a", 0, 8), (UNOBSERVED, 8, 20), ("c", 20, 40)]);
    assert_eq!(cells[1].title, "B");
    // Without an end of its own a is not known at all.
    let no_end = THREE.replace("end = [\"exit a\"]", "");
    let cells = partition(&phases(&no_end), &milestones, &window(0, 40, WindowKind::Whole));
    assert_eq!(outline(&cells), [(UNOBSERVED, 0, 20), ("c", 20, 40)]);
    assert_eq!(cells[0].title, "A; B");
}

#[test]
fn what_was_cut_off_was_not_expected() {
    let calls = [call("a", Side::Outgoing, 0, 8)];
    let milestones = Milestones::new(&[], &calls, &[]);
    let cells = partition(&phases(THREE), &milestones, &window(0, 40, WindowKind::Returned));
    assert_eq!(outline(&cells), [("a", 0, 40)]);
    let cells = partition(&phases(THREE), &milestones, &window(0, 40, WindowKind::Whole));
    assert_eq!(outline(&cells), [("a", 0, 8), (UNOBSERVED, 8, 40)]);
}

#[test]
fn a_window_without_any_milestone_is_unobserved() {
    let cells = partition(&phases(THREE), &Milestones::default(), &window(5, 9, WindowKind::Whole));
    assert_eq!(outline(&cells), [(UNOBSERVED, 5, 9)]);
}

#[test]
fn a_chosen_window_expects_no_phase_that_lies_outside() {
    let calls = [
        call("a", Side::Outgoing, 0, 8),
        call("b", Side::Outgoing, 10, 12),
        call("c", Side::Incoming, 20, 30),
    ];
    let milestones = Milestones::new(&[], &calls, &[]);
    let cells = |start, end| partition(&phases(THREE), &milestones, &window(start, end, WindowKind::Chosen));
    // In the midst of b, and over before c.
    assert_eq!(outline(&cells(11, 40)), [("b", 11, 20), ("c", 20, 40)]);
    assert_eq!(outline(&cells(11, 15)), [("b", 11, 15)]);
    // a is missing, and nothing says that it lies elsewhere.
    let milestones = Milestones::new(&[], &calls[1..], &[]);
    let cells = partition(&phases(THREE), &milestones, &window(5, 15, WindowKind::Chosen));
    assert_eq!(outline(&cells), [(UNOBSERVED, 5, 10), ("b", 10, 15)]);
    // Before a: the window begins with nothing that has a name.
    let milestones = Milestones::new(&[], &[call("a", Side::Outgoing, 10, 12)], &[]);
    let cells = partition(&phases(THREE)[..1], &milestones, &window(5, 15, WindowKind::Chosen));
    assert_eq!(outline(&cells), [(OPENING, 5, 10), ("a", 10, 15)]);
}

proptest! {
    /// Whatever was seen, in whatever order, of the real catalogue: the cells fill the window.
    #[test]
    fn cells_fill_the_window(
        seen in proptest::collection::vec((any::<prop::sample::Index>(), 0_u64..1000, 0_u64..200), 0..80),
        start in 0_u64..500,
        length in 1_u64..900,
        kind in prop::sample::select(vec![WindowKind::Whole, WindowKind::Chosen, WindowKind::Cut, WindowKind::Returned]),
    ) {
        let calls: Vec<Call> = seen
            .iter()
            .map(|(probe, at, length)| {
                let probe = &CATALOGUE.probes[probe.index(CATALOGUE.probes.len())];
                let side = if probe.outgoing.is_empty() { Side::Incoming } else { Side::Outgoing };
                call(&probe.name, side, *at, at + length)
            })
            .collect();
        let window = window(start, start + length, kind);
        let cells = partition(&CATALOGUE.phases, &Milestones::new(&[], &calls, &[]), &window);
        prop_assert_eq!(cells.first().map(|cell| cell.begin.ticks), Some(start));
        prop_assert_eq!(cells.last().map(|cell| cell.end.ticks), Some(start + length));
        for pair in cells.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].begin);
            prop_assert!(pair[0].begin.ticks < pair[0].end.ticks);
        }
    }
}
