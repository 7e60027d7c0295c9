//! Whether a series goes one way: Kendall's rank correlation with time (Mann's trend test).

use super::normal;

/// Up to so many values the distribution is counted.
const EXACT: usize = 50;

/// Two-sided p of no trend; `None` for fewer than three values. Ties are taken as neither up nor down, and
/// the distribution is that without ties: the p is too large then, never too small.
pub fn kendall_p(series: &[f64]) -> Option<f64> {
    let n = series.len();
    if n < 3 {
        return None;
    }
    let mut score = 0i64;
    for (at, later) in series.iter().enumerate() {
        for earlier in series.iter().take(at) {
            score += later.partial_cmp(earlier).map_or(0, |order| order as i64);
        }
    }
    let pairs = (n * (n - 1) / 2) as i64;
    if n > EXACT {
        let n = n as f64;
        let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        return Some(normal::two_tails((score.abs() as f64 - 1.0).max(0.0) / deviation));
    }
    // |score| = pairs - 2 * (pairs against the trend); ties round towards no trend.
    let against = ((pairs - score.abs() + 1) / 2) as usize;
    let tail: f64 = inversions(n).iter().take(against + 1).sum();
    Some((2.0 * tail).min(1.0))
}

/// Share of the orders of `n` values by their number of inversions.
fn inversions(n: usize) -> Vec<f64> {
    let mut share = vec![1.0];
    for size in 2..=n {
        let mut next = vec![0.0; share.len() + size - 1];
        for (inversions, ways) in share.iter().enumerate() {
            // The next value can go to any of `size` places.
            next.iter_mut().skip(inversions).take(size).for_each(|to| *to += ways / size as f64);
        }
        share = next;
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_falling_and_neither() {
        let rising: Vec<f64> = (0..8).map(f64::from).collect();
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        // One order in 8!, twice.
        let p = kendall_p(&rising).unwrap();
        assert!((p - 2.0 / 40_320.0).abs() < 1e-15);
        assert_eq!(kendall_p(&falling), Some(p));
        assert_eq!(kendall_p(&[3.0, 3.0, 3.0, 3.0]), Some(1.0));
        assert_eq!(kendall_p(&[1.0, 2.0]), None);
        assert!(kendall_p(&[1.0, 9.0, 2.0, 8.0, 3.0, 7.0]).unwrap() > 0.5);
        let long: Vec<f64> = (0..60).map(f64::from).collect();
        assert!(kendall_p(&long).unwrap() < 1e-12);
    }
}
