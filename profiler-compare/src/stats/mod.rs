//! The few statistics that few, noisy runs allow. Pure arithmetic; golden vectors from scipy in `golden/`.

mod bimodal;
mod change_point;
#[cfg(test)]
mod golden_tests;
mod hodges_lehmann;
mod holm;
mod mann_whitney;
mod normal;
mod trend;

pub use bimodal::two_groups;
pub use change_point::{Change, change_points};
pub use hodges_lehmann::{Estimate, ratio, shift};
pub use holm::adjust;
pub use mann_whitney::{Method, Tests, smallest_p};
pub use trend::kendall_p;

/// Median; the mean of the middle two of an even number. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(sorted.len() / 2 - 1)?, upper))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
