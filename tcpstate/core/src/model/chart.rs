//! Counts of states over time, one sample a second.

use std::collections::VecDeque;

use crate::event::State;

/// Seconds that are kept.
pub const MAX_SAMPLES: usize = 900;
/// Length of a sample.
pub(crate) const SAMPLE_NS: u64 = 1_000_000_000;

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Sockets per state at the end of the second, in the order of [`State::ALL`].
    pub states: [u32; State::ALL.len()],
    /// Events in the second.
    pub events: u32,
    /// Failed calls in the second.
    pub failures: u32,
}

/// Counts of states over time.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    samples: VecDeque<Sample>,
    current: Sample,
    current_second: Option<u64>,
}

impl Chart {
    /// Takes in the time: closes every second that has ended.
    pub(crate) fn advance(&mut self, mono_ns: u64, states: [u32; State::ALL.len()]) {
        let second = mono_ns / SAMPLE_NS;
        let Some(current) = self.current_second else {
            self.current_second = Some(second);
            return;
        };
        for elapsed in 0..second.saturating_sub(current).min(MAX_SAMPLES as u64) {
            let sample = if elapsed == 0 {
                Sample {
                    states,
                    ..self.current
                }
            } else {
                Sample {
                    states,
                    ..Sample::default()
                }
            };
            if self.samples.len() == MAX_SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
            self.current = Sample::default();
        }
        self.current_second = Some(current.max(second));
    }

    /// Counts an event, and the failed calls that it stands for.
    pub(crate) fn count_event(&mut self, failures: u64) {
        self.current.events = self.current.events.saturating_add(1);
        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
        self.current.failures = self.current.failures.saturating_add(failures);
    }

    /// The seconds that have ended, oldest first.
    #[must_use]
    pub fn samples(&self) -> impl DoubleEndedIterator<Item = &Sample> + ExactSizeIterator {
        self.samples.iter()
    }

    /// Events in the last second that has ended.
    #[must_use]
    pub fn events_per_second(&self) -> u32 {
        self.samples.back().map_or(0, |sample| sample.events)
    }
}
