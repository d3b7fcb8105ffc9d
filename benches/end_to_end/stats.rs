//! Medians, and how sure they are.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// An estimate with the interval that holds 95 of 100 resamples' estimates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Estimate {
    /// The median of these figures, with its bootstrap interval. The same figures give the same interval.
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut rng = SmallRng::seed_from_u64(7);
        let resample = |rng: &mut SmallRng| {
            median((0..figures.len()).map(|_| figures[rng.random_range(0..figures.len())]).collect())
        };
        let mut medians: Vec<f64> = (0..4_000).map(|_| resample(&mut rng)).collect();
        medians.sort_by(f64::total_cmp);
        Self { median: median(figures.to_vec()), low: medians[100], high: medians[3_899] }
    }

    pub(crate) fn width(self) -> f64 {
        self.high - self.low
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
    f64::midpoint(below, above)
}

/// The figure that so many of a hundred do not exceed. Sorts them.
pub(crate) fn percentile(figures: &mut [u32], percent: usize) -> u32 {
    figures.sort_unstable();
    figures.get(figures.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
}
