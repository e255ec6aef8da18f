//! What is left of many rounds.

use serde::Serialize;

/// The middle of some measurements, and between which two lies the middle half of them. The extremes say
/// more about what else the machine did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lower_quartile: f64,
    pub(super) upper_quartile: f64,
}

impl Spread {
    /// Of at least one measurement.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // In quarters of the way from the first to the last; between two of them, what lies between.
        let at = |quarters: usize| {
            let (whole, part) = (last * quarters / 4, last * quarters % 4);
            let (below, above) = (*values.get(whole)?, *values.get((whole + 1).min(last))?);
            Some(below + (above - below) * number(part) / 4.0)
        };
        Some(Self { median: at(2)?, lower_quartile: at(1)?, upper_quartile: at(3)? })
    }
}

/// A count as a number to calculate with; exact below 2^53.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "there is no other way, and counts are small")]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_quartiles_lie_on_measurements_or_between_them() {
        let spread = |values: &[f64]| Spread::of(values).map(|s| (s.lower_quartile, s.median, s.upper_quartile));
        assert_eq!(spread(&[5.0, 1.0, 3.0, 2.0, 4.0]), Some((2.0, 3.0, 4.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some((1.75, 2.5, 3.25)));
        assert_eq!(spread(&[7.0]), Some((7.0, 7.0, 7.0)));
        assert_eq!(spread(&[]), None);
    }
}
