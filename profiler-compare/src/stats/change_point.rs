//! Where a series changes its level, by ranks.
//!
//! Pettitt, "A non-parametric approach to the change-point problem", Appl. Statist. 28 (1979): the split
//! with the largest Mann-Whitney statistic, judged by how large that is in shuffled series; then again in
//! each part. Ranks, because one slow run in a series says nothing. They tell that there is a change better
//! than where: the place is the split whose two medians leave the least deviation.

use super::{super::random::Random, median};

/// Values on each side of a change; fewer are no level.
const LEAST: usize = 5;
/// Shuffles that judge one split.
const SHUFFLES: u32 = 999;
/// Of the shuffles: the same advice for the same series.
const SEED: u64 = 20;

/// One change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Index of the first value of the new level.
    pub at: usize,
    /// Median of the stretch before it, and of the one after it.
    pub before: f64,
    /// See `before`.
    pub after: f64,
    /// Share of shuffled series with a split as clear.
    pub p: f64,
}

/// Changes in the order of the series. The shuffles are the same every time.
pub fn change_points(series: &[f64], alpha: f64) -> Vec<Change> {
    let mut splits = Vec::new();
    split(series, 0, alpha, &mut splits);
    splits.sort_unstable_by_key(|(at, _)| *at);
    let mut borders: Vec<usize> = splits.iter().map(|(at, _)| *at).collect();
    borders.insert(0, 0);
    borders.push(series.len());
    let stretch = |from: usize, to: usize| series.get(from..to).and_then(median).unwrap_or(f64::NAN);
    let levels: Vec<f64> = borders.windows(2).map(|ends| stretch(ends[0], ends[1])).collect();
    let change =
        |((at, p), levels): ((usize, f64), &[f64])| Change { at, before: levels[0], after: levels[1], p };
    splits.into_iter().zip(levels.windows(2)).map(change).collect()
}

fn split(series: &[f64], offset: usize, alpha: f64, into: &mut Vec<(usize, f64)>) {
    if series.len() < 2 * LEAST {
        return;
    }
    let ranks = ranks(series);
    let clearest = clearest_split(&ranks);
    let mut shuffled = ranks;
    let mut random = Random::new(SEED);
    let mut as_clear = 1;
    for _ in 0..SHUFFLES {
        random.shuffle(&mut shuffled);
        as_clear += u32::from(clearest_split(&shuffled) >= clearest);
    }
    let p = f64::from(as_clear) / f64::from(SHUFFLES + 1);
    if p > alpha {
        return;
    }
    let at = best_fit(series);
    into.push((offset + at, p));
    let (before, after) = series.split_at(at);
    split(before, offset, alpha, into);
    split(after, offset + at, alpha, into);
}

/// Twice the mean rank of each value.
fn ranks(series: &[f64]) -> Vec<i64> {
    let below = |value: f64| series.iter().filter(|other| **other < value).count();
    let up_to = |value: f64| series.iter().filter(|other| **other <= value).count();
    series.iter().map(|value| (below(*value) + up_to(*value) + 1) as i64).collect()
}

/// How far the ranks of a first part are from what chance gives, at the split where that is furthest;
/// standardised, so that a split near an end has the same standing as one in the middle.
fn clearest_split(twice_ranks: &[i64]) -> f64 {
    let n = twice_ranks.len();
    let mut sum: i64 = twice_ranks.iter().take(LEAST - 1).sum();
    let mut clearest = 0.0f64;
    for (at, rank) in twice_ranks.iter().enumerate().take(n - LEAST).skip(LEAST - 1) {
        sum += rank;
        let before = at + 1;
        let distance = (sum - (before * (n + 1)) as i64) as f64;
        clearest = clearest.max(distance * distance / (before * (n - before)) as f64);
    }
    clearest
}

/// The split that leaves the least absolute deviation from the medians of its parts.
fn best_fit(series: &[f64]) -> usize {
    let deviation = |part: &[f64]| -> f64 {
        let median = median(part).unwrap_or(0.0);
        part.iter().map(|value| (value - median).abs()).sum()
    };
    let cost = |at: &usize| {
        let (before, after) = series.split_at(*at);
        deviation(before) + deviation(after)
    };
    let splits = LEAST..=series.len() - LEAST;
    splits.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(levels: &[(usize, f64)], seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        let stretch = |(length, level): &(usize, f64)| vec![*level; *length];
        levels.iter().flat_map(stretch).map(|level| level + random.normal()).collect()
    }

    #[test]
    fn finds_two_steps_where_they_are() {
        let changes = change_points(&noisy(&[(15, 100.0), (12, 106.0), (13, 97.0)], 3), 0.01);
        let at: Vec<usize> = changes.iter().map(|change| change.at).collect();
        assert_eq!(at, [15, 27]);
        assert!((changes[0].before - 100.0).abs() < 1.0 && (changes[0].after - 106.0).abs() < 1.0);
        assert!((changes[1].after - 97.0).abs() < 1.0);
    }

    #[test]
    fn one_outlier_is_no_change() {
        let mut series = noisy(&[(30, 100.0)], 5);
        series[14] = 10_000.0;
        assert!(change_points(&series, 0.01).is_empty());
        assert!(change_points(&[1.0; 40], 0.01).is_empty());
        assert!(change_points(&[], 0.01).is_empty());
    }

    #[test]
    fn seldom_cries_wolf() {
        let alarms = (0..200).filter(|seed| !change_points(&noisy(&[(24, 0.0)], *seed), 0.01).is_empty());
        let alarms = alarms.count();
        assert!(alarms <= 8, "{alarms} of 200 series without a change");
    }
}
