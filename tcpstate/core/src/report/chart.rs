//! Counts of states over time, at a resolution that the length decides.

use super::StatesOverTime;
use crate::event::State;

/// Samples that are kept; when time outgrows them, two become one.
const MAX_SAMPLES: usize = 240;
/// Length of a sample at first.
const FIRST_STEP_NS: u64 = 2_000_000;

type Counts = [u32; State::ALL.len()];

/// Highest counts per step.
#[derive(Debug)]
pub(super) struct StateSampler {
    start_ns: Option<u64>,
    step_ns: u64,
    samples: Vec<Counts>,
    now: Counts,
}

impl StateSampler {
    pub(super) fn new() -> Self {
        Self {
            start_ns: None,
            step_ns: FIRST_STEP_NS,
            samples: vec![[0; State::ALL.len()]],
            now: [0; State::ALL.len()],
        }
    }

    /// At this time there are so many sockets per state.
    pub(super) fn note(&mut self, mono_ns: u64, counts: Counts) {
        let start_ns = *self.start_ns.get_or_insert(mono_ns);
        let after_ns = mono_ns.saturating_sub(start_ns);
        let limit = MAX_SAMPLES as u64;
        while after_ns / self.step_ns >= limit && self.step_ns < u64::MAX / 2 {
            self.halve();
        }
        let wanted = usize::try_from(after_ns / self.step_ns).unwrap_or(MAX_SAMPLES);
        // Until now nothing had changed.
        while self.samples.len() <= wanted.min(MAX_SAMPLES) {
            self.samples.push(self.now);
        }
        self.now = counts;
        if let Some(last) = self.samples.last_mut() {
            *last = highest(last, &counts);
        }
    }

    fn halve(&mut self) {
        self.step_ns *= 2;
        self.samples = self
            .samples
            .chunks(2)
            .map(|pair| match pair {
                [first, second] => highest(first, second),
                [only] => *only,
                _ => [0; State::ALL.len()],
            })
            .collect();
    }

    pub(super) fn finish(self) -> StatesOverTime {
        let total = self
            .samples
            .iter()
            .fold([0; State::ALL.len()], |total, sample| {
                highest(&total, sample)
            });
        let occurring = || {
            State::ALL
                .into_iter()
                .zip(total)
                .enumerate()
                .filter(|(_, (state, most))| *most > 0 && *state != State::Closed)
        };
        StatesOverTime {
            step_ns: self.step_ns,
            states: occurring().map(|(_, (state, _))| state).collect(),
            samples: self
                .samples
                .iter()
                .map(|sample| {
                    occurring()
                        .filter_map(|(at, _)| sample.get(at).copied())
                        .collect()
                })
                .collect(),
        }
    }
}

fn highest(one: &Counts, other: &Counts) -> Counts {
    let mut most = *one;
    for (most, other) in most.iter_mut().zip(other) {
        *most = (*most).max(*other);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn established(count: u32) -> Counts {
        let mut counts = [0; State::ALL.len()];
        counts[0] = count;
        counts
    }

    #[test]
    fn a_peak_survives_any_length() {
        let mut chart = StateSampler::new();
        chart.note(0, established(1));
        chart.note(5_000_000, established(700));
        chart.note(6_000_000, established(2));
        chart.note(86_400_000_000_000, established(3));

        let drawn = chart.finish();

        assert!(drawn.samples.len() <= MAX_SAMPLES);
        assert_eq!(drawn.states, [State::Established]);
        assert_eq!(drawn.samples.first(), Some(&vec![700]));
        assert_eq!(drawn.samples.get(1), Some(&vec![2]));
        assert_eq!(drawn.samples.last(), Some(&vec![3]));
    }

    #[test]
    fn times_without_bounds_end() {
        let mut chart = StateSampler::new();
        chart.note(0, established(1));
        chart.note(u64::MAX, established(2));
        chart.note(7, established(3));

        assert!(chart.finish().samples.len() <= MAX_SAMPLES + 1);
    }
}
