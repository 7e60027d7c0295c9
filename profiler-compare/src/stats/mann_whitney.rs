//! Mann-Whitney U test: the permutation distribution of the rank sum, with ties.
//!
//! Mann & Whitney, "On a test of whether one of two random variables is stochastically larger than the
//! other", Ann. Math. Statist. 18 (1947); with ties every value has its group's mean rank and the
//! distribution is that of all ways to deal these ranks to the two sides.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::normal;

/// Up to so many runs in both sides together the distribution is counted, not approximated.
const EXACT: usize = 100;
/// The same with ties, where every pattern of ties has its own distribution.
const EXACT_WITH_TIES: usize = 40;

/// How a difference was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The permutation distribution, counted.
    Exact,
    /// Its normal approximation, with corrections for continuity and ties: for many runs.
    Normal,
    /// Both sides are constant and of a deterministic machine: subtracted.
    Subtraction,
    /// Not tested; the reason says why.
    None,
}

/// Result of one test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Pairs in which the second sample's value is the larger; a tie counts half.
    pub u: f64,
    /// Two-sided: twice the smaller tail, 1 at most.
    pub p: f64,
    /// How the tails were had.
    pub method: Method,
}

/// Makes tests, and remembers the distributions it needed.
#[derive(Debug, Default)]
pub struct Tests {
    known: HashMap<(usize, Vec<usize>), Ranks>,
}

impl Tests {
    /// Tests whether `b` tends to be larger or smaller than `a`. `None` if either is empty.
    pub fn mann_whitney(&mut self, a: &[f64], b: &[f64]) -> Option<Test> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let pooled = Pooled::new(a, b);
        let (n, m) = (a.len() as f64, b.len() as f64);
        let u = pooled.twice_rank_sum_b as f64 / 2.0 - m * (m + 1.0) / 2.0;
        let limit = if pooled.ties() { EXACT_WITH_TIES } else { EXACT };
        if a.len() + b.len() > limit {
            let p = normal::mann_whitney_p(u, n, m, &pooled.groups);
            return Some(Test { u, p, method: Method::Normal });
        }
        // The distribution of the smaller side's rank sum is the cheaper one to count.
        let all = pooled.groups.iter().sum::<usize>();
        let twice_sum = if b.len() <= a.len() {
            pooled.twice_rank_sum_b
        } else {
            all * (all + 1) - pooled.twice_rank_sum_b
        };
        let (at_most, at_least) = self.ranks(a.len().min(b.len()), pooled.groups).tails(twice_sum);
        Some(Test { u, p: (2.0 * at_most.min(at_least)).min(1.0), method: Method::Exact })
    }

    /// The largest `k` with `P(U <= k - 1) <= alpha / 2` without ties: the interval between the `k`th
    /// smallest and the `k`th largest of all pairs holds what this test at `alpha` does not reject. 0 if
    /// the runs are too few to reject anything.
    pub fn interval_rank(&mut self, n: usize, m: usize, alpha: f64) -> usize {
        if n == 0 || m == 0 {
            return 0;
        }
        if n + m > EXACT {
            return normal::interval_rank(n as f64, m as f64, alpha);
        }
        let small = n.min(m);
        let ranks = self.ranks(small, vec![1; n + m]);
        let lowest = small * (small + 1);
        let rejected = |u: usize| ranks.tails(lowest + 2 * u).0 <= alpha / 2.0;
        (0..n * m).find(|u| !rejected(*u)).unwrap_or(n * m)
    }

    fn ranks(&mut self, small: usize, groups: Vec<usize>) -> &Ranks {
        self.known.entry((small, groups)).or_insert_with_key(|(small, groups)| Ranks::new(*small, groups))
    }
}

/// The smallest two-sided p that `n` against `m` runs can give: both ends of `C(n + m, n)` ways.
pub fn smallest_p(n: usize, m: usize) -> f64 {
    let ways = (1..=n.min(m)).fold(1.0, |ways, i| ways * (n.max(m) + i) as f64 / i as f64);
    (2.0 / ways).min(1.0)
}

/// Two samples in one order.
struct Pooled {
    /// Sizes of the groups of equal values, in order.
    groups: Vec<usize>,
    twice_rank_sum_b: usize,
}

impl Pooled {
    fn new(a: &[f64], b: &[f64]) -> Self {
        let of = |values: &[f64], is_b: bool| values.iter().map(|v| (*v, is_b)).collect::<Vec<_>>();
        let mut all = of(a, false);
        all.extend(of(b, true));
        all.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
        let (mut groups, mut twice_rank_sum_b, mut before) = (Vec::new(), 0, 0);
        for group in all.chunk_by(|x, y| x.0 == y.0) {
            let of_b = group.iter().filter(|(_, is_b)| *is_b).count();
            twice_rank_sum_b += of_b * twice_rank(before, group.len());
            groups.push(group.len());
            before += group.len();
        }
        Self { groups, twice_rank_sum_b }
    }

    fn ties(&self) -> bool {
        self.groups.iter().any(|size| *size > 1)
    }
}

/// Twice the mean rank (from 1) of a group that follows `before` values; an integer.
fn twice_rank(before: usize, size: usize) -> usize {
    2 * before + size + 1
}

/// How many ways there are to each rank sum, as shares of all ways.
#[derive(Debug)]
struct Ranks {
    /// By twice the rank sum, in steps of `unit`.
    share: Vec<f64>,
    unit: usize,
}

impl Ranks {
    /// Counts the choices of `small` out of all values by their rank sum, one value at a time.
    fn new(small: usize, groups: &[usize]) -> Self {
        let mut ranks = Vec::new();
        for size in groups {
            let rank = twice_rank(ranks.len(), *size);
            ranks.extend(std::iter::repeat_n(rank, *size));
        }
        // Without ties all are even: half the table.
        let unit = if ranks.iter().all(|rank| rank % 2 == 0) { 2 } else { 1 };
        let highest: usize = ranks.iter().rev().take(small).sum::<usize>() / unit;
        let width = highest + 1;
        let mut ways = vec![vec![0.0; width]; small + 1];
        ways[0][0] = 1.0;
        for rank in ranks.iter().map(|rank| rank / unit) {
            for chosen in (1..=small).rev() {
                let (fewer, more) = ways.split_at_mut(chosen);
                let (from, to) = (&fewer[chosen - 1], &mut more[0]);
                for (to, from) in to.iter_mut().skip(rank).zip(from) {
                    *to += from;
                }
            }
        }
        let mut share = ways.pop().unwrap_or_default();
        let all: f64 = share.iter().sum();
        share.iter_mut().for_each(|ways| *ways /= all);
        Self { share, unit }
    }

    /// P(sum <= this), P(sum >= this).
    fn tails(&self, twice_sum: usize) -> (f64, f64) {
        let at = twice_sum / self.unit;
        let at_most = self.share.iter().take(at + 1).sum();
        let at_least = self.share.iter().skip(at).sum();
        (at_most, at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every way to deal the pooled values to two sides, by brute force.
    fn brute_force_p(a: &[f64], b: &[f64]) -> f64 {
        let pool: Vec<f64> = a.iter().chain(b).copied().collect();
        let u = |b: &[f64], a: &[f64]| -> f64 {
            let pair = |x: f64, y: f64| if y > x { 1.0 } else { f64::from(u8::from(x == y)) / 2.0 };
            a.iter().map(|x| b.iter().map(|y| pair(*x, *y)).sum::<f64>()).sum()
        };
        let seen = u(b, a);
        let (mut ways, mut low, mut high) = (0.0, 0.0, 0.0);
        for mask in 0u32..1 << pool.len() {
            if mask.count_ones() as usize != b.len() {
                continue;
            }
            let side = |one: u32| -> Vec<f64> {
                (0..pool.len()).filter(|i| mask >> i & 1 == one).map(|i| pool[i]).collect()
            };
            let u = u(&side(1), &side(0));
            ways += 1.0;
            low += f64::from(u8::from(u <= seen));
            high += f64::from(u8::from(u >= seen));
        }
        (2.0 * f64::min(low, high) / ways).min(1.0)
    }

    proptest! {
        #[test]
        fn is_the_share_of_all_ways_to_deal(
            a in proptest::collection::vec(0u8..6, 1..6),
            b in proptest::collection::vec(0u8..6, 1..6),
        ) {
            let float = |values: &[u8]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
            let (a, b) = (float(&a), float(&b));
            let test = Tests::default().mann_whitney(&a, &b).unwrap();
            prop_assert!((test.p - brute_force_p(&a, &b)).abs() < 1e-12);
            let back = Tests::default().mann_whitney(&b, &a).unwrap();
            prop_assert!((test.p - back.p).abs() < 1e-12);
            prop_assert_eq!(test.u + back.u, (a.len() * b.len()) as f64);
        }
    }

    #[test]
    fn smallest_p_is_the_textbooks() {
        for (n, p) in [(3, 0.1), (4, 0.028_571_428), (5, 0.007_936_508), (6, 0.002_164_502), (8, 0.000_155_4)]
        {
            assert!((smallest_p(n, n) - p).abs() < 1e-8, "{n}");
        }
        let apart = |n: u8| (0..n).map(f64::from).collect::<Vec<_>>();
        let far: Vec<f64> = apart(6).iter().map(|v| v + 100.0).collect();
        let p = Tests::default().mann_whitney(&apart(7), &far).unwrap().p;
        assert!((p - smallest_p(7, 6)).abs() < 1e-15);
    }

    #[test]
    fn interval_ranks_are_the_tables() {
        // Two-sided critical values of U at 5 %, from the tables: U <= 2 for 5 and 5, 23 for 10 and 10.
        let mut tests = Tests::default();
        for (n, critical) in [(4, 0), (5, 2), (6, 5), (8, 13), (10, 23), (20, 127)] {
            assert_eq!(tests.interval_rank(n, n, 0.05), critical + 1, "{n}");
        }
        assert_eq!(tests.interval_rank(3, 3, 0.05), 0);
        assert_eq!(tests.interval_rank(0, 3, 0.05), 0);
    }

    #[test]
    fn many_runs_are_approximated() {
        let values = |from: u32| (from..from + 80).map(f64::from).collect::<Vec<_>>();
        let test = Tests::default().mann_whitney(&values(0), &values(20)).unwrap();
        assert_eq!(test.method, Method::Normal);
        assert!(test.p < 0.001);
    }
}
