//! Times of two sides -> verdict.

use super::{
    model::*,
    stats::{self, Tests, smallest_p},
};

/// Above this no number of runs is proposed: nobody would make them.
const MOST_RUNS: f64 = 1000.0;
/// What is said instead.
pub const TOO_MANY: &str = "over 1000 runs a side would tell";
/// ((z(0.05) + z(0.2, one-sided)) / z(0.05))^2: an interval this much narrower than the distance to the
/// limit clears it in four of five cases.
const POWER: f64 = 2.042;

/// Holds rows to the limits.
#[derive(Debug)]
pub struct Judge {
    /// The limits.
    pub limits: Limits,
    /// Subtract where both sides are constant.
    pub deterministic: bool,
    /// Why nothing may be decided, if so.
    pub refused: Option<String>,
    tests: Tests,
}

impl Judge {
    /// Of these limits.
    pub fn new(limits: Limits, deterministic: bool, refused: Option<String>) -> Self {
        Self { limits, deterministic, refused, tests: Tests::default() }
    }

    /// Judges a family of rows: estimates, tests, adjustment, verdicts.
    pub fn family(&mut self, rows: &mut [Row]) {
        self.test(rows);
        for row in rows {
            self.estimate(row);
            self.decide(row);
        }
    }

    /// Tests each row, and adjusts for their number. Times below the floor in every run are not tested:
    /// that does not depend on which side a run is of, so the level holds.
    pub fn test(&mut self, rows: &mut [Row]) {
        for row in rows.iter_mut() {
            let (base, new) = floats(row);
            if base.is_empty() || new.is_empty() {
                continue;
            }
            if self.deterministic && constant(&base) && constant(&new) {
                row.method = Method::Subtraction;
            } else if base.iter().chain(&new).all(|ns| *ns <= self.limits.floor_ns as f64) {
                row.reason = Some("never longer than the floor".to_owned());
            } else if let Some(test) = self.tests.mann_whitney(&base, &new) {
                (row.method, row.p) = (test.method, Some(test.p));
                if self.deterministic {
                    row.warnings.push("runs of one deterministic build differ".to_owned());
                }
            }
        }
        let p: Vec<f64> = rows.iter().filter_map(|row| row.p).collect();
        let tested = rows.iter_mut().filter(|row| row.p.is_some());
        for (row, adjusted) in tested.zip(stats::adjust(&p)) {
            row.p_adjusted = Some(adjusted);
            let (n, m) = (row.base.values_ns.len(), row.new.values_ns.len());
            // Told by the verdict, if it comes to that.
            if smallest_p(n, m) * p.len() as f64 > self.limits.alpha {
                row.reason = Some(too_few(n, m, p.len(), self.limits.alpha));
                row.runs_needed = Some(least_runs(p.len(), self.limits.alpha));
            }
        }
    }

    /// Estimates shift and ratio with their intervals.
    pub fn estimate(&mut self, row: &mut Row) {
        let (base, new) = floats(row);
        (row.base.median_ns, row.new.median_ns) = (stats::median(&base), stats::median(&new));
        if row.method == Method::Subtraction {
            if let (Some(from), Some(to)) = (base.first(), new.first()) {
                row.shift_ns = Some(Estimate::exact(to - from));
                row.ratio = (*from > 0.0).then(|| Estimate::exact(to / from));
            }
            return;
        }
        let rank = self.tests.interval_rank(base.len(), new.len(), self.limits.alpha);
        row.shift_ns = stats::shift(&base, &new, rank);
        row.ratio = stats::ratio(&base, &new, rank);
    }

    /// The verdict, of a row that is tested and estimated.
    pub fn decide(&self, row: &mut Row) {
        row.verdict = Verdict::Inconclusive;
        if let Some(reason) = &self.refused {
            row.reason = Some(reason.clone());
            row.runs_needed = None;
            return;
        }
        let Some(shift) = row.shift_ns else {
            let side = if row.base.values_ns.is_empty() { "base" } else { "new" };
            row.reason = Some(format!("no usable run of the {side} side"));
            return;
        };
        if row.method == Method::None {
            row.verdict = Verdict::Equivalent;
            return;
        }
        let floor = self.limits.floor_ns as f64;
        let (longest, shortest) = (1.0 + self.limits.min_effect, 1.0 - self.limits.min_effect);
        let significant =
            row.method == Method::Subtraction || row.p_adjusted.is_some_and(|p| p <= self.limits.alpha);
        let (Some(low), Some(high)) = (shift.low, shift.high) else { return };
        let ratio = row.ratio.and_then(|ratio| Some((ratio.low?, ratio.high?)));
        row.verdict = if significant && low > floor && ratio.is_none_or(|(low, _)| low > longest) {
            Verdict::Regression
        } else if significant && high < -floor && ratio.is_none_or(|(_, high)| high < shortest) {
            Verdict::Improvement
        } else if low >= -floor && high <= floor
            || ratio.is_some_and(|(low, high)| low >= shortest && high <= longest)
        {
            Verdict::Equivalent
        } else {
            Verdict::Inconclusive
        };
        if row.verdict == Verdict::Inconclusive {
            row.runs_needed = self.runs_needed(row);
        } else {
            (row.reason, row.runs_needed) = (None, None);
        }
    }

    /// How many runs a side would decide: intervals narrow with the root of the runs.
    fn runs_needed(&self, row: &Row) -> Option<u64> {
        let (n, m) = (row.base.values_ns.len() as f64, row.new.values_ns.len() as f64);
        let runs = 2.0 * n * m / (n + m);
        // In units of the limit's own scale: logarithms for a ratio, nanoseconds for a shift.
        let (middle, half, limit) = match (row.ratio, row.shift_ns) {
            (Some(Estimate { value, low: Some(low), high: Some(high) }), _) => {
                (value.ln().abs(), (high.ln() - low.ln()) / 2.0, self.limits.min_effect.ln_1p())
            }
            (_, Some(Estimate { value, low: Some(low), high: Some(high) })) => {
                (value.abs(), (high - low) / 2.0, self.limits.floor_ns as f64)
            }
            _ => return row.runs_needed,
        };
        let distance = (middle - limit).abs();
        let needed = (POWER * runs * (half / distance).powi(2)).ceil();
        let least = row.runs_needed.map_or(0.0, |runs| runs as f64).max(runs.floor() + 1.0);
        // Not a number if both are zero.
        (needed <= MOST_RUNS).then(|| needed.max(least) as u64)
    }
}

/// Runs a side with which a family of `tests` can reject anything at all.
pub fn least_runs(tests: usize, alpha: f64) -> u64 {
    let enough = |n: &usize| smallest_p(*n, *n) * tests as f64 <= alpha;
    (1..=64).find(enough).unwrap_or(64) as u64
}

fn too_few(n: usize, m: usize, tests: usize, alpha: f64) -> String {
    let supported = (alpha / smallest_p(n, m)).floor();
    let least = least_runs(tests, alpha);
    format!(
        "{n} and {m} runs support {supported} tests at once, these are {tests}: {least} a side are needed"
    )
}

fn floats(row: &Row) -> (Vec<f64>, Vec<f64>) {
    let of = |times: &Times| times.values_ns.iter().map(|ns| *ns as f64).collect();
    (of(&row.base), of(&row.new))
}

fn constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}
