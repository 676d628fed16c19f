//! The only reader of OS time.

use rustix::time::{ClockId, clock_getres, clock_gettime};

use crate::event::ClockAnchor;

const NS_PER_S: u64 = 1_000_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of `bpf_ktime_get_ns`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Monotonic))
}

/// Processor time of the calling thread in nanoseconds.
#[must_use]
pub fn processor_ns() -> u64 {
    to_ns(clock_gettime(ClockId::ThreadCPUTime))
}

/// Both clocks at (nearly) the same moment.
///
/// The wall clock is read between two readings of the monotonic one, and the
/// tightest of a few tries is kept.
#[must_use]
pub fn anchor() -> ClockAnchor {
    (0..5)
        .map(|_| {
            let before = monotonic_ns();
            let realtime = to_ns(clock_gettime(ClockId::Realtime));
            let after = monotonic_ns();
            (
                after - before,
                ClockAnchor {
                    mono_ns: before + (after - before) / 2,
                    realtime,
                },
            )
        })
        .min_by_key(|(width, _)| *width)
        .map_or(ClockAnchor::default(), |(_, anchor)| anchor)
}

/// The kernel's `CONFIG_HZ`: the coarse clock advances once a jiffy.
#[must_use]
pub fn kernel_hz() -> u32 {
    let resolution = to_ns(clock_getres(ClockId::MonotonicCoarse)).max(1);
    u32::try_from(NS_PER_S / resolution).unwrap_or(u32::MAX)
}

fn to_ns(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(nanoseconds)
}
