use super::*;
use crate::{budget::Budget, random::Random, testing};

fn states(text: &str, base: &[Run], new: &[Run]) -> Vec<(String, State)> {
    let budget = Budget::parse(text).unwrap();
    check(&budget, base, new, 0.05).into_iter().map(|check| (check.what, check.state)).collect()
}

#[test]
fn absolute_limits_hold_one_run() {
    let one = testing::runs(1, 1, |_, ns| ns);
    let text = r#"
        [window]
        max = "1 s"
        [phase.restore]
        max = "120 ms"
        [phase.unobserved]
        max = "0 ns"
        [[span]]
        name = "restore-function"
        phase = "restore"
        max = "119.9 ms"
        max_calls = 1
        [[span]]
        name = "none-of-this-name"
        max = "1 s"
        [count]
        failures = 0
    "#;
    let expected = [
        ("window", State::Exceeded),
        ("phase restore", State::Held),
        ("phase unobserved", State::Held),
        ("span restore-function [restore]", State::Exceeded),
        ("calls of span restore-function [restore]", State::Held),
        ("span none-of-this-name", State::Unknown),
        ("failures", State::Held),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(what, state)| (what.to_owned(), state)).collect();
    assert_eq!(states(text, &[], &one), expected);
    assert!(states(text, &[], &[]).iter().all(|(_, state)| *state == State::Unknown));
}

#[test]
fn a_spoiled_run_tells_nothing() {
    let mut report = testing::report("1", |_, ns| ns);
    report.loss.boot_trace = Some(1);
    let run = [Run::new("lossy", &report)];
    let text = "[window]\nmax = \"1 ns\"\n[phase.freeze]\nmax = \"1 s\"\n[phase.restore]\nmax = \"1 s\"\n[count]\nlost = 0";
    let states: Vec<State> = states(text, &[], &run).into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, [State::Unknown, State::Held, State::Unknown, State::Exceeded]);
}

#[test]
fn relative_limits_need_an_interval() {
    let text = "[phase.restore]\nmax_increase = \"5 %\"";
    let mut random = Random::new(11);
    let mut times = |n: usize, from: usize, factor: f64| {
        let mut noise = testing::noisy(&mut random, 0.01);
        testing::runs(n, from, |id, ns| noise(id, (ns as f64 * factor) as u64))
    };
    let base = times(10, 0, 1.0);
    for (n, factor, state) in [
        (10, 1.0, State::Held),
        (10, 1.1, State::Exceeded),
        (10, 1.05, State::Unknown),
        (2, 1.5, State::Unknown),
    ] {
        assert_eq!(states(text, &base[..n], &times(n, 1, factor))[0].1, state, "{n} runs, {factor}");
    }
    assert_eq!(states(text, &[], &base)[0].1, State::Unknown);
    let exact = |more: u64| {
        let mut report = testing::report("1", |_, ns| ns + more);
        report.run.deterministic = true;
        [Run::new("exact", &report)]
    };
    assert_eq!(states(text, &exact(0), &exact(10_000_000))[0].1, State::Exceeded);
    assert_eq!(states(text, &exact(0), &exact(1_000))[0].1, State::Held);
}

#[test]
fn budgets_that_cannot_fail_are_refused() {
    for (text, message) in [
        ("", "limits nothing"),
        ("[window]", "limits nothing"),
        ("[phase.restor]\nmax = \"1 s\"", "no such phase"),
        ("[[span]]\nmax = \"1 s\"", "needs a name"),
        ("[[span]]\nname = \"x\"\nphase = \"y\"\nmax = \"1 s\"", "no such phase"),
        ("[window]\nmaximum = \"1 s\"", "maximum"),
        ("[window]\nmax = \"1 fortnight\"", "fortnight"),
        ("[window]\nmax = 5", "invalid type"),
    ] {
        let error = Budget::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}
