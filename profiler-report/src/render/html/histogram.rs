//! Histograms of counted functions as small pictures: columns double in width from one to the next.

use std::fmt::Write;

use crate::duration;

/// Size of the picture, in its own units.
const WIDTH: usize = 260;
const HEIGHT: usize = 56;
/// Room for the words below.
const FOOT: usize = 14;

/// Draws them. Heights are linear in the count; one call is visible beside a million.
pub fn svg(octaves: &[(u64, u64)]) -> String {
    let (Some((low, _)), Some((high, _))) = (octaves.first(), octaves.last()) else { return String::new() };
    let most = octaves.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let step = WIDTH as f64 / octaves.len() as f64;
    let mut out = format!(
        "<svg class=\"histogram\" viewBox=\"0 0 {WIDTH} {}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"from {} to {}\">",
        HEIGHT + FOOT,
        duration(*low),
        duration(high.saturating_mul(2)),
    );
    for (index, (from, count)) in octaves.iter().enumerate().filter(|(_, (_, count))| *count > 0) {
        let height = (*count as f64 / most as f64 * HEIGHT as f64).max(1.0);
        let (x, y, width) = (index as f64 * step, HEIGHT as f64 - height, (step - 1.0).max(0.5));
        let (from, to) = (duration(*from), duration(from.saturating_mul(2)));
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{from} to {to}: {count}</title></rect>"
        );
    }
    let foot = HEIGHT + FOOT - 3;
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{foot}\">{}</text><text x=\"{WIDTH}\" y=\"{foot}\" text-anchor=\"end\">{}</text></svg>",
        duration(*low),
        duration(high.saturating_mul(2))
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octave_that_is_not_empty_has_a_bar() {
        assert_eq!(svg(&[(1, 2), (2, 2), (4, 0), (8, 1)]).matches("<rect").count(), 3);
        assert_eq!(svg(&[]), "");
    }
}
