//! Times, by buckets.

/// Upper ends of the buckets in milliseconds; the last bucket has none.
const ENDS_MS: [u64; 14] = [
    1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000,
];

/// How often a time fell into which bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; ENDS_MS.len() + 1],
    sum_ms: u64,
}

impl Histogram {
    pub(super) fn observe_ms(&mut self, ms: u64) {
        let at = ENDS_MS.partition_point(|end_ms| *end_ms < ms);
        if let Some(count) = self.counts.get_mut(at) {
            *count = count.saturating_add(1);
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, others) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(others);
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    /// Each bucket's upper end in seconds, infinite for the last one, and how many fell into
    /// it and into none before.
    #[expect(clippy::cast_precision_loss, reason = "the ends are small")]
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = ENDS_MS.iter().map(|ms| *ms as f64 / 1_000.0);
        ends.chain([f64::INFINITY]).zip(self.counts)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them in seconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact for 285,000 years")]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ms as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_that_ends_with_it() {
        let mut times = Histogram::default();
        for ms in [0, 1, 2, 1_000, 400_000] {
            times.observe_ms(ms);
        }

        let filled: Vec<(f64, u64)> = times.buckets().filter(|(_, count)| *count > 0).collect();

        assert_eq!(
            filled,
            [(0.001, 2), (0.01, 1), (1.0, 1), (f64::INFINITY, 1)]
        );
        assert_eq!((times.count(), times.sum_seconds()), (5, 401.003));
    }
}
