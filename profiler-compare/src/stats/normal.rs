//! The normal distribution, where runs are too many to count.

use std::f64::consts::SQRT_2;

/// P(|Z| >= z).
pub fn two_tails(z: f64) -> f64 {
    libm::erfc(z.abs() / SQRT_2)
}

/// The z that `two_tails` maps to `p`, by bisection.
pub fn z_of(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if two_tails(middle) > p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Mann-Whitney's p by approximation, corrected for continuity and for ties (`groups` are the sizes of
/// the groups of equal values). Lehmann, "Nonparametrics" (1975), chapter 1, section 4.
pub fn mann_whitney_p(u: f64, n: f64, m: f64, groups: &[usize]) -> f64 {
    let all = n + m;
    let tied: f64 = groups.iter().map(|t| (*t as f64).powi(3) - *t as f64).sum();
    let variance = n * m / 12.0 * (all + 1.0 - tied / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    two_tails(distance / variance.sqrt()).min(1.0)
}

/// [`super::Tests::interval_rank`] by the same approximation.
pub fn interval_rank(n: f64, m: f64, alpha: f64) -> usize {
    let deviation = (n * m * (n + m + 1.0) / 12.0).sqrt();
    // A negative float becomes 0.
    (n * m / 2.0 + 0.5 - z_of(alpha) * deviation).floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert!((z_of(0.05) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((two_tails(1.0) - 0.317_310_507_862_914).abs() < 1e-12);
    }
}
