//! Hodges-Lehmann estimates, with the interval that inverts the Mann-Whitney test.
//!
//! Hodges & Lehmann, "Estimates of location based on rank tests", Ann. Math. Statist. 34 (1963): the
//! median over all pairs of one run of each side. The test at `alpha` rejects a shift exactly if it lies
//! below the `k`th smallest pair or above the `k`th largest; with ties this closed interval keeps at
//! least its level (Noether, Ann. Math. Statist. 38 (1967)).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An estimate and the interval around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Median over all pairs.
    pub value: f64,
    /// Lower end; `null` if the runs are too few for one.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Estimate {
    /// A value that is known exactly.
    pub fn exact(value: f64) -> Self {
        Self { value, low: Some(value), high: Some(value) }
    }
}

/// By how much `b` is larger than `a`, in their unit; `rank` is [`super::Tests::interval_rank`]. `None`
/// if either is empty.
pub fn shift(a: &[f64], b: &[f64], rank: usize) -> Option<Estimate> {
    estimate(pairs(a, b, |a, b| b - a), rank, f64::midpoint)
}

/// How many times larger `b` is than `a`: [`shift`] of the logarithms. `None` also if a value is not
/// positive.
pub fn ratio(a: &[f64], b: &[f64], rank: usize) -> Option<Estimate> {
    if a.iter().chain(b).any(|value| *value <= 0.0) {
        return None;
    }
    estimate(pairs(a, b, |a, b| b / a), rank, |low, high| (low * high).sqrt())
}

fn pairs(a: &[f64], b: &[f64], of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut pairs: Vec<f64> = a.iter().flat_map(|a| b.iter().map(|b| of(*a, *b))).collect();
    pairs.sort_unstable_by(f64::total_cmp);
    pairs
}

fn estimate(pairs: Vec<f64>, rank: usize, middle: impl Fn(f64, f64) -> f64) -> Option<Estimate> {
    let count = pairs.len();
    let upper = *pairs.get(count / 2)?;
    let value = if count % 2 == 1 { upper } else { middle(*pairs.get(count / 2 - 1)?, upper) };
    let low = rank.checked_sub(1).and_then(|at| pairs.get(at)).copied();
    let high = (rank > 0).then(|| count.checked_sub(rank)).flatten().and_then(|at| pairs.get(at)).copied();
    Some(Estimate { value, low, high })
}

#[cfg(test)]
mod tests {
    use super::{super::Tests, *};
    use proptest::prelude::*;

    #[test]
    fn too_few_runs_have_no_interval() {
        let estimate = shift(&[1.0, 2.0], &[3.0, 5.0], 0).unwrap();
        assert_eq!(estimate, Estimate { value: 2.5, low: None, high: None });
        assert_eq!(shift(&[], &[1.0], 0), None);
        assert_eq!(ratio(&[0.0], &[1.0], 0), None);
    }

    proptest! {
        /// The definition of the interval: shifted by what lies inside, the test does not reject; by what
        /// lies outside, it does.
        #[test]
        fn interval_is_what_the_test_does_not_reject(
            a in proptest::collection::btree_set(0i32..5000, 4..9),
            b in proptest::collection::btree_set(0i32..5000, 4..9),
        ) {
            // Distinct values, and shifts that lie between the pairs: no ties.
            let float = |values: &std::collections::BTreeSet<i32>| {
                values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>()
            };
            let (a, b) = (float(&a), float(&b));
            let mut tests = Tests::default();
            let rank = tests.interval_rank(a.len(), b.len(), 0.05);
            let estimate = shift(&a, &b, rank).unwrap();
            let (low, high) = (estimate.low.unwrap(), estimate.high.unwrap());
            for (by, inside) in [(low - 0.5, false), (high + 0.5, false), (low + 0.5, true)] {
                let moved: Vec<f64> = b.iter().map(|b| b - by).collect();
                let p = tests.mann_whitney(&a, &moved).unwrap().p;
                if low + 0.5 < high || !inside {
                    prop_assert_eq!(p > 0.05, inside, "p {} at {}", p, by);
                }
            }
        }
    }
}
