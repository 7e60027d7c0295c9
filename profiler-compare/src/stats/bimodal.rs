//! Runs that fall in two groups.

/// Whether the values fall in two groups that lie further apart than either is wide, each with at least
/// three values and a fifth of all. A median of such runs says little. `None` if they do not, else the
/// value in the middle of the gap.
pub fn two_groups(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let least = sorted.len().div_ceil(5).max(3);
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let at = least..=sorted.len().checked_sub(least)?;
    at.filter_map(|split| {
        let (below, above) = (*sorted.get(split.checked_sub(1)?)?, *sorted.get(split)?);
        let widest = (below - first).max(last - above);
        (above - below > widest).then_some(f64::midpoint(below, above))
    })
    .next()
}

#[cfg(test)]
mod tests {
    use super::{super::super::random::Random, *};

    #[test]
    fn finds_two_and_only_two() {
        assert_eq!(two_groups(&[1.0, 9.0, 1.2, 9.3, 0.9, 9.1]), Some(5.1));
        assert_eq!(two_groups(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), None);
        // A single outlier is none.
        assert_eq!(two_groups(&[1.0, 1.1, 1.2, 1.3, 1.4, 50.0]), None);
        assert_eq!(two_groups(&[1.0, 9.0]), None);
        assert_eq!(two_groups(&[]), None);
        assert_eq!(two_groups(&[5.0; 8]), None);
    }

    #[test]
    fn seldom_seen_in_one_group() {
        let mut random = Random::new(7);
        let normal = |random: &mut Random| (0..10).map(|_| random.normal()).collect::<Vec<f64>>();
        let seen = (0..2000).filter(|_| two_groups(&normal(&mut random)).is_some()).count();
        assert!(seen < 60, "{seen} of 2000 normal samples of 10");
    }
}
