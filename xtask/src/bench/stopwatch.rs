//! The one place of the benchmark that reads clocks.

use std::time::{Duration, Instant};

/// Runs from its start on.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn millis(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e3
    }
}

/// Processor time of this process: what it waited for is not in it, nor what others
/// took meanwhile.
pub(super) fn own_ns() -> u64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    own.tv_sec.unsigned_abs() * 1_000_000_000 + own.tv_nsec.unsigned_abs()
}
