//! How fast a recording is played.

/// Speeds: the label, and how many nanoseconds of the recording go by in a
/// thousand of ours; `None`: as fast as it can be read.
const SPEEDS: [(&str, Option<u64>); 9] = [
    ("0.1×", Some(100)),
    ("0.25×", Some(250)),
    ("0.5×", Some(500)),
    ("1×", Some(1_000)),
    ("2×", Some(2_000)),
    ("5×", Some(5_000)),
    ("20×", Some(20_000)),
    ("100×", Some(100_000)),
    ("max", None),
];
/// 1×.
const NORMAL: usize = 3;

/// One of the speeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed(usize);

impl Default for Speed {
    fn default() -> Self {
        Self(NORMAL)
    }
}

impl Speed {
    pub(super) fn faster(self) -> Self {
        Self((self.0 + 1).min(SPEEDS.len() - 1))
    }

    pub(super) fn slower(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As the person reads it.
    pub(super) fn label(self) -> &'static str {
        SPEEDS[self.0].0
    }

    /// The time of the recording after so much of ours; `None`: the end, whenever
    /// that is.
    pub(super) fn after(self, from_ns: u64, elapsed_ns: u64) -> Option<u64> {
        let rate = SPEEDS[self.0].1?;
        let passed = u128::from(elapsed_ns) * u128::from(rate) / 1_000;
        Some(from_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)))
    }
}
