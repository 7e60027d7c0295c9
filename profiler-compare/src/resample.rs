//! How often the gate is right, from real runs: comparisons of many random draws out of two pools.

use std::collections::BTreeMap;

use super::{Comparison, Options, Row, Run, Verdict, compare_some, random::Random, summary::label};

/// What the comparisons said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Comparisons made.
    pub trials: u32,
    /// By the verdict of the gate.
    pub verdicts: BTreeMap<Verdict, u32>,
    /// Regressions by the phases that regressed; `window` for the whole.
    pub regressed: BTreeMap<String, u32>,
    /// By the span that changed most among those that regressed in a phase that regressed.
    pub blamed: BTreeMap<String, u32>,
    /// Trials in which any named span regressed, whatever became of its phase: what `--fail-on-span` fails on.
    pub span_alarms: u32,
    /// By the span that regressed by most in those.
    pub longer: BTreeMap<String, u32>,
}

/// Deals `2 n` runs of one pool to two sides, `trials` times: what is found is a false alarm.
pub fn one_build(pool: &[Run], n: usize, trials: u32, seed: u64, options: &Options) -> Tally {
    let (mut random, mut tally) = (Random::new(seed), Tally::default());
    for _ in 0..trials {
        let drawn = draw(pool, 2 * n, &mut random);
        let (base, new) = drawn.split_at(drawn.len() / 2);
        tally.add(&compare_some(base.to_vec(), new.to_vec(), options));
    }
    tally
}

/// Draws `n` runs of each pool, `trials` times.
pub fn two_builds(base: &[Run], new: &[Run], n: usize, trials: u32, seed: u64, options: &Options) -> Tally {
    let (mut random, mut tally) = (Random::new(seed), Tally::default());
    for _ in 0..trials {
        let (base, new) = (draw(base, n, &mut random), draw(new, n, &mut random));
        tally.add(&compare_some(base, new, options));
    }
    tally
}

/// Different runs, in any order.
fn draw<'a>(pool: &'a [Run], n: usize, random: &mut Random) -> Vec<&'a Run> {
    let mut all: Vec<&Run> = pool.iter().collect();
    random.shuffle(&mut all);
    all.truncate(n);
    all
}

impl Tally {
    fn add(&mut self, comparison: &Comparison) {
        self.trials += 1;
        *self.verdicts.entry(comparison.verdict).or_default() += 1;
        let rows = comparison.window.iter().chain(&comparison.phases);
        for row in rows.filter(|row| row.verdict == Verdict::Regression) {
            *self.regressed.entry(label(row)).or_default() += 1;
        }
        let name = |span: &Row| format!("{}: {}", span.phase, label(span));
        if let Some(span) = comparison.spans.iter().find(|row| row.verdict == Verdict::Regression) {
            self.span_alarms += 1;
            *self.longer.entry(name(span)).or_default() += 1;
        }
        let regressed = |id: &str| {
            comparison.phases.iter().any(|row| row.phase == id && row.verdict == Verdict::Regression)
        };
        let blamed = |row: &&Row| row.verdict == Verdict::Regression && regressed(&row.phase);
        if let Some(span) = comparison.spans.iter().find(blamed) {
            *self.blamed.entry(name(span)).or_default() += 1;
        }
    }

    /// Share of the trials in which the gate said this.
    pub fn rate(&self, verdict: Verdict) -> f64 {
        f64::from(self.verdicts.get(&verdict).copied().unwrap_or(0)) / f64::from(self.trials.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    /// Alarms in comparisons of simulated builds that do not differ, 10 against 10, five phases each. The
    /// limits are off (no smallest effect, no floor): what is measured is the level of the tests.
    fn false_alarms(trials: u32, mut factor: impl FnMut(&mut Random) -> f64) -> Tally {
        let options = Options { min_effect: Some(0.0), floor_ns: Some(0), ..Options::default() };
        let (mut random, mut tally) = (Random::new(2026), Tally::default());
        for _ in 0..trials {
            let mut side = |from| testing::runs(10, from, |_, ns| (ns as f64 * factor(&mut random)) as u64);
            let (base, new) = (side(0), side(1));
            tally.add(&compare_some(base.iter().collect(), new.iter().collect(), &options));
        }
        tally
    }

    #[test]
    fn equal_builds_alarm_no_more_often_than_alpha() {
        simulated_nulls(100);
    }

    #[test]
    #[ignore = "minutes; prints the rates"]
    fn full_equal_builds_alarm_no_more_often_than_alpha() {
        simulated_nulls(2000);
    }

    /// Draws a factor of a phase's time.
    type Null = fn(&mut Random) -> f64;

    fn simulated_nulls(trials: u32) {
        let nulls: [(&str, Null); 5] = [
            ("normal", |random| 1.0 + 0.02 * random.normal()),
            ("skewed", |random| (0.3 * random.normal()).exp()),
            ("heavy tails", |random| 1.0 + 0.001 / (random.uniform() + 1e-6)),
            ("tied", |random| 1.0 + (3.0 * random.uniform()).floor() / 10.0),
            ("bimodal", |random| {
                let mode = if random.uniform() < 0.5 { 1.0 } else { 1.3 };
                mode + 0.01 * random.normal()
            }),
        ];
        for (name, null) in nulls {
            let rate = false_alarms(trials, null).rate(Verdict::Regression);
            println!("{name}: {rate}");
            // Alpha, and three deviations of a count of so many trials.
            let limit = 0.05 + 3.0 * (0.05 * 0.95 / f64::from(trials)).sqrt();
            assert!(rate <= limit, "{name}: {rate} of {trials} equal builds were called slower");
        }
    }

    #[test]
    fn a_difference_between_two_pools_is_found_in_every_draw() {
        let mut random = Random::new(3);
        let base = testing::runs(20, 0, testing::noisy(&mut random, 0.005));
        let mut noise = testing::noisy(&mut random, 0.005);
        let new = testing::runs(20, 1, |id, ns| noise(id, if id == "restore" { ns * 105 / 100 } else { ns }));
        let tally = two_builds(&base, &new, 10, 20, 1, &Options::default());
        assert_eq!(tally.verdicts, BTreeMap::from([(Verdict::Regression, 20)]));
        assert_eq!(tally.regressed, BTreeMap::from([("restore".to_owned(), 20)]));
        assert_eq!(tally.blamed, BTreeMap::from([("restore: restore-function".to_owned(), 20)]));
        assert_eq!((tally.span_alarms, &tally.longer), (20, &tally.blamed));
        let one = one_build(&base, 10, 20, 1, &Options::default());
        assert_eq!((one.rate(Verdict::Regression), one.span_alarms), (0.0, 0));
    }
}
