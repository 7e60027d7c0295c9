use profiler_report::report::{Identity, Outcome, ProbeLoss, Report, Vm, VmStatus};

use super::{testing::*, *};
use crate::random::Random;

fn run(report: &Report) -> Run {
    Run::new(format!("file-{}", report.run.id), report)
}

/// `n` noisy runs a side; `slower` multiplies the new side's restore phase.
fn sides(n: usize, slower: f64, seed: u64) -> (Vec<Run>, Vec<Run>) {
    let mut random = Random::new(seed);
    let base = runs(n, 0, noisy(&mut random, 0.01));
    let mut noise = noisy(&mut random, 0.01);
    let new = runs(n, 1, |id, ns| noise(id, if id == "restore" { (ns as f64 * slower) as u64 } else { ns }));
    (base, new)
}

fn phase<'a>(comparison: &'a Comparison, id: &str) -> &'a Row {
    comparison.phases.iter().find(|row| row.phase == id).expect("the phase is compared")
}

#[test]
fn a_planted_regression_is_found_with_its_phase_and_span() {
    let (base, new) = sides(10, 1.05, 1);
    let comparison = compare(&base, &new, &Options::default());
    assert_eq!(comparison.verdict, Verdict::Regression, "{}", comparison.summary);
    let regressed: Vec<&str> = comparison
        .phases
        .iter()
        .filter(|row| row.verdict == Verdict::Regression)
        .map(|row| row.phase.as_str())
        .collect();
    assert_eq!(regressed, ["restore"]);
    assert_eq!(comparison.spans[0].name, "restore-function");
    assert_eq!(comparison.spans[0].verdict, Verdict::Regression);
    let ratio = phase(&comparison, "restore").ratio.unwrap();
    assert!(ratio.low.unwrap() < 1.05 && 1.05 < ratio.high.unwrap(), "{ratio:?}");
    assert!(comparison.summary.contains("restore-function"), "{}", comparison.summary);
    // The other way round it is an improvement, as large.
    let back = compare(&new, &base, &Options::default());
    assert_eq!(phase(&back, "restore").verdict, Verdict::Improvement);
    assert_ne!(back.verdict, Verdict::Regression);
}

#[test]
fn identical_runs_are_no_regression_and_said_to_be_the_same() {
    let (base, _) = sides(10, 1.0, 2);
    let comparison = compare(&base, &base, &Options::default());
    assert!(matches!(comparison.verdict, Verdict::Equivalent | Verdict::Inconclusive));
    let row = comparison.window.unwrap();
    assert_eq!((row.p, row.shift_ns.unwrap().value), (Some(1.0), 0.0));
    assert!(comparison.warnings.iter().any(|text| text == "10 runs are on both sides"));
}

#[test]
fn constant_times_are_equivalent() {
    let (base, new) = (runs(6, 0, |_, ns| ns), runs(6, 1, |_, ns| ns));
    let comparison = compare(&base, &new, &Options::default());
    assert_eq!(comparison.verdict, Verdict::Equivalent);
    assert!(comparison.phases.iter().all(|row| row.verdict == Verdict::Equivalent));
}

#[test]
fn too_few_runs_decide_nothing_and_say_how_many_would() {
    let (base, new) = sides(3, 2.0, 3);
    let comparison = compare(&base, &new, &Options::default());
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    let window = comparison.window.as_ref().unwrap();
    assert_eq!(window.runs_needed, Some(4));
    assert!(window.reason.as_ref().unwrap().contains("4 a side are needed"), "{window:?}");
    // Four phases are longer than the floor: 4 runs support one test, 5 support six.
    assert_eq!(phase(&comparison, "restore").runs_needed, Some(5));
    let one = compare(&base[..1], &new[..1], &Options::default());
    assert_eq!(one.verdict, Verdict::Inconclusive);
}

#[test]
fn n_of_5_supports_6_phases_and_n_of_6_supports_23() {
    for (tests, runs) in [(1, 4), (6, 5), (7, 6), (23, 6), (24, 7)] {
        assert_eq!(least_runs(tests, 0.05), runs, "{tests}");
    }
}

#[test]
fn an_empty_side_is_inconclusive() {
    let (base, _) = sides(5, 1.0, 4);
    for (base, new) in [(base.as_slice(), &[][..]), (&[], &base), (&[], &[])] {
        let comparison = compare(base, new, &Options::default());
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
    }
    let comparison = compare(&base, &[], &Options::default());
    assert_eq!(comparison.window.unwrap().reason.as_deref(), Some("no usable run of the new side"));
}

#[test]
fn mixed_machines_get_no_verdict() {
    let (base, _) = sides(10, 1.0, 5);
    let mut random = Random::new(6);
    let mut noise = noisy(&mut random, 0.01);
    let bigger = |i: usize, noise: &mut dyn FnMut(&str, u64) -> u64| {
        let mut report = report(&(2 * i + 1).to_string(), |id, ns| noise(id, 2 * ns));
        report.run.cpus = 4;
        run(&report)
    };
    let new: Vec<Run> = (0..10).map(|i| bigger(i, &mut noise)).collect();
    let comparison = compare(&base, &new, &Options::default());
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(comparison.summary.contains("the machines differ"), "{}", comparison.summary);
    assert!(comparison.changes.iter().any(|change| change.name == "CPUs"));
    let mixed = Options { mixed_machines: true, ..Options::default() };
    assert_eq!(compare(&base, &new, &mixed).verdict, Verdict::Regression);
}

#[test]
fn lossy_runs_are_left_out_where_they_are_spoiled_and_only_there() {
    let mut base = sides(8, 1.0, 7).0;
    let new = sides(8, 1.0, 7).1;
    let mut lossy = report("100", |_, ns| 10 * ns);
    lossy.loss.boot_trace = Some(3);
    base.push(run(&lossy));
    let comparison = compare(&base, &new, &Options::default());
    let used = |id| phase(&comparison, id).base.values_ns.len();
    assert_eq!((used("freeze"), used("dark"), used("initcalls"), used("restore")), (9, 8, 8, 8));
    assert_eq!(comparison.window.as_ref().unwrap().base.values_ns.len(), 8);
    assert_eq!(phase(&comparison, "restore").excluded[0].reason, "3 records of the boot trace lost");
    assert!(
        comparison.warnings.iter().any(|text| text.contains("boot trace lost")),
        "{:?}",
        comparison.warnings
    );
}

#[test]
fn a_probe_that_missed_calls_spoils_its_borders_and_spans() {
    let mut one = report("1", |_, ns| ns);
    one.coverage = vec![profiler_report::report::Coverage {
        probe: "restore-function".to_owned(),
        family: "luo".to_owned(),
        kernel: profiler_report::catalogue::Place::Incoming,
        symbol: Some("luo_restore".to_owned()),
        method: "boot-kprobe".to_owned(),
        state: profiler_report::report::ProbeState::Fired,
        hits: 1,
        reason: None,
    }];
    for name in ["restore-function", "luo_restore_ret"] {
        one.loss.per_probe =
            vec![ProbeLoss { probe: name.to_owned(), count: 2, reason: "missed".to_owned() }];
        let run = run(&one);
        let spoiled: Vec<&str> = run
            .phases
            .iter()
            .filter(|phase| phase.spoiled.is_some())
            .map(|phase| phase.id.as_str())
            .collect();
        // The phase it begins, and the one that ends where it begins.
        assert_eq!(spoiled, ["initcalls", "restore"], "{name}");
        assert!(run.window.unwrap().spoiled.is_some());
    }
    one.loss.per_probe[0].probe = "trace pages".to_owned();
    assert!(run(&one).phases.iter().all(|phase| phase.spoiled.is_some()));
}

#[test]
fn runs_that_are_all_lossy_or_failed_decide_nothing() {
    let spoil: [fn(&mut Report); 3] = [
        |report| report.loss.recording = 1,
        |report| report.outcome = Outcome::Failed,
        |report| {
            report.outcome = Outcome::Partial;
            report.window = None;
            report.phases.clear();
        },
    ];
    for spoil in spoil {
        let spoiled = |from: usize, factor: u64| -> Vec<Run> {
            let one = |i: usize| {
                let mut report = report(&(from + 2 * i).to_string(), |_, ns| factor * ns);
                spoil(&mut report);
                run(&report)
            };
            (0..10).map(one).collect()
        };
        let comparison = compare(&spoiled(0, 1), &spoiled(1, 2), &Options::default());
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
        assert!(comparison.phases.iter().all(|row| row.verdict == Verdict::Inconclusive));
    }
}

#[test]
fn deterministic_runs_are_subtracted() {
    let deterministic = |id: &str, more: u64| {
        let mut report = report(id, |id, ns| if id == "restore" { ns + more } else { ns });
        report.run.deterministic = true;
        run(&report)
    };
    let base = deterministic("same", 0);
    let comparison =
        compare(std::slice::from_ref(&base), &[deterministic("same", 2_000)], &Options::default());
    assert!(comparison.deterministic);
    assert_eq!(comparison.verdict, Verdict::Regression);
    let row = phase(&comparison, "restore");
    assert_eq!((row.method, row.p, row.shift_ns), (Method::Subtraction, None, Some(Estimate::exact(2000.0))));
    assert_eq!(comparison.spans.len(), 1, "only what differs is listed");
    assert_eq!(comparison.spans[0].name, "restore-function");
    // Below the floor it is shown, and no regression.
    let comparison = compare(std::slice::from_ref(&base), &[deterministic("same", 1)], &Options::default());
    assert_eq!(comparison.verdict, Verdict::Equivalent);
    assert_eq!(phase(&comparison, "restore").shift_ns, Some(Estimate::exact(1.0)));
}

#[test]
fn what_changed_beside_the_time_is_told_what_may_explain_it_first() {
    let with = |from: usize, slower: f64, option: Option<&str>| -> Vec<Run> {
        let mut random = Random::new(from as u64 + 40);
        let mut noise = noisy(&mut random, 0.005);
        let one = |i: usize| {
            let mut report = report(&(from + 2 * i).to_string(), |id, ns| {
                noise(id, if id == "restore" { (ns as f64 * slower) as u64 } else { ns })
            });
            for kernel in report.outgoing.iter_mut().chain(&mut report.incoming) {
                let mut config = vec![("CONFIG_SMP", "y"), ("CONFIG_AAA", option.unwrap_or("m"))];
                config.extend(option.map(|value| ("CONFIG_RESTORE_CHECK", value)));
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                kernel.config = Some(config.into_iter().map(owned).collect());
            }
            if option.is_some() {
                report.incoming.as_mut().unwrap().cmdline += " debug nosmt=force";
                let mut came = span("late", 0, 3_000_000);
                came.kind = "initcall".to_owned();
                report.phases[2].spans.push(came);
            }
            run(&report)
        };
        (0..10).map(one).collect()
    };
    let comparison = compare(&with(0, 1.0, None), &with(1, 1.2, Some("y")), &Options::default());
    let first = &comparison.changes[0];
    assert_eq!((first.what, first.name.as_str()), (What::Config, "CONFIG_RESTORE_CHECK"));
    assert_eq!((first.base.as_deref(), first.new.as_deref()), (None, Some("y")));
    assert_eq!(first.hints, ["restore"]);
    let names: Vec<&str> = comparison.changes.iter().map(|change| change.name.as_str()).collect();
    for name in ["CONFIG_AAA", "debug", "nosmt", "late-function"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(!names.contains(&"CONFIG_SMP") && !names.contains(&"blackout.run"), "{names:?}");
}

#[test]
fn odd_series_are_warned_of() {
    let mut day = 0.0;
    let base = runs(10, 0, |id, ns| {
        day += f64::from(u8::from(id == "freeze"));
        (ns as f64 * (1.0 + day / 100.0)) as u64
    });
    let mut flip = 0;
    let new = runs(10, 1, |id, ns| {
        flip += u64::from(id == "freeze");
        ns + flip % 2 * ns / 4 + flip * 7
    });
    let window = compare(&base, &new, &Options::default()).window.unwrap();
    assert!(window.warnings.iter().any(|text| text.starts_with("base drifts")), "{:?}", window.warnings);
    assert!(window.warnings.iter().any(|text| text.starts_with("new falls in two")), "{:?}", window.warnings);
    let later: Vec<Run> = runs(10, 1001, |_, ns| ns);
    let warnings = compare(&base, &later, &Options::default()).warnings;
    assert!(warnings.iter().any(|text| text.contains("did not take turns")), "{warnings:?}");
}

#[test]
fn a_phase_of_one_side_is_a_change_not_a_zero() {
    let (base, mut new) = sides(6, 1.0, 9);
    for run in &mut new {
        run.phases.remove(0);
    }
    let comparison = compare(&base, &new, &Options::default());
    assert!(!comparison.phases.iter().any(|row| row.phase == "freeze"));
    let change = comparison.changes.iter().find(|change| change.what == What::Phase).unwrap();
    assert_eq!((change.name.as_str(), change.new.as_deref()), ("freeze", None));
}

#[test]
fn a_live_update_given_twice_counts_once() {
    let (base, new) = sides(6, 1.0, 10);
    let twice: Vec<Run> = base.iter().chain(&base).cloned().collect();
    let comparison = compare(&twice, &new, &Options::default());
    assert_eq!(comparison.base.runs.len(), 6);
    assert!(comparison.warnings.iter().any(|text| text.contains("repeat a run")));
}

#[test]
fn guests_are_compared_by_name_where_they_were_measured() {
    let vm = |name: &str, ns: u64, status: VmStatus| Vm {
        id: name.to_owned(),
        name: name.to_owned(),
        identity: Identity::Only,
        status,
        why: (status != VmStatus::Measured).then(|| "it ran before its entries were watched".to_owned()),
        blackout_ns: Some(ns),
        error_ns: None,
        switch_ns: None,
        start_ns: None,
        end_ns: None,
        outgoing_pid: None,
        incoming_pid: None,
        vcpus: Vec::new(),
    };
    let side = |from: usize, ns: u64| -> Vec<Run> {
        let run = |i: usize| {
            let mut report = report(&(from + 2 * i).to_string(), |_, ns| ns);
            let status = if i == 3 { VmStatus::Bounded } else { VmStatus::Measured };
            let alone = if from == 0 { "gone" } else { "new" };
            report.vms = vec![vm("web", ns + i as u64, status), vm(alone, 1, VmStatus::Measured)];
            run(&report)
        };
        (0..10).map(run).collect()
    };
    let comparison = compare(&side(0, 3_000_000_000), &side(1, 3_300_000_000), &Options::default());
    let [web] = comparison.vms.as_slice() else { panic!("{:?}", comparison.vms) };
    assert_eq!((web.name.as_str(), web.verdict), ("web", Verdict::Regression));
    assert_eq!((web.base.values_ns.len(), web.excluded.len()), (9, 2));
    assert_eq!(web.excluded[0].reason, "it ran before its entries were watched");
    // Nothing of the host's own window changed: the gate does not fire for a guest.
    assert_eq!(comparison.verdict, Verdict::Equivalent, "{}", comparison.summary);
    let text = render::comparison(&comparison, render::Format::Text).unwrap();
    assert!(text.contains("guest web"), "{text}");
}
