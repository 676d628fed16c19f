//! Times and counts as a person reads them.

use crate::event::ClockAnchor;

pub(crate) use crate::model::NS_PER_MS;
pub(crate) const NS_PER_S: u64 = 1_000_000_000;

/// `42s`, `3m12s`, `2h05m`, `3d04h`: whole seconds, at most six cells.
pub(crate) fn age(ns: u64) -> String {
    let s = ns / NS_PER_S;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// `41.3 s` below a hundred seconds, then as [`age`].
pub(crate) fn exact(ns: u64) -> String {
    if ns < 100 * NS_PER_S {
        format!("{}.{} s", ns / NS_PER_S, ns % NS_PER_S / (100 * NS_PER_MS))
    } else {
        age(ns)
    }
}

/// Seconds left, rounded up: it never says 0 before the time has come.
pub(crate) fn left(ns: u64) -> String {
    let s = ns.div_ceil(NS_PER_S);
    if s < 100 {
        format!("{s} s")
    } else {
        age(s.saturating_mul(NS_PER_S))
    }
}

/// The time between two steps, with the unit that suits it.
pub(crate) fn between(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..1_000_000_000 => {
            format!("{}.{} ms", ns / NS_PER_MS, ns % NS_PER_MS / 100_000)
        }
        _ => exact(ns),
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 socket`, `2 sockets`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Time of day in UTC, to the second: `11:06:40`.
pub(crate) fn to_the_second(anchor: &ClockAnchor, mono_ns: u64) -> String {
    let s = anchor.realtime_ns(mono_ns) / NS_PER_S;
    format!("{:02}:{:02}:{:02}", s / 3_600 % 24, s / 60 % 60, s % 60)
}

/// Time of day in UTC, to the millisecond: `11:06:40.123`. Without an anchor,
/// seconds of the monotonic clock.
pub(crate) fn time_of_day(anchor: Option<&ClockAnchor>, mono_ns: u64) -> String {
    let Some(anchor) = anchor else {
        return format!(
            "{:>8}.{:03}",
            mono_ns / NS_PER_S,
            mono_ns % NS_PER_S / NS_PER_MS
        );
    };
    let ms = anchor.realtime_ns(mono_ns) / NS_PER_MS;
    let s = ms / 1_000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        s / 3_600 % 24,
        s / 60 % 60,
        s % 60,
        ms % 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(age(42_900 * NS_PER_MS), "42s");
        assert_eq!(age(192 * NS_PER_S), "3m12s");
        assert_eq!(age(7_500 * NS_PER_S), "2h05m");
        assert_eq!(exact(41_390 * NS_PER_MS), "41.3 s");
        assert_eq!(exact(192 * NS_PER_S), "3m12s");
        assert_eq!(between(250_000), "250 µs");
        assert_eq!(between(1_250_000), "1.2 ms");
    }

    #[test]
    fn time_left_is_rounded_up() {
        assert_eq!(left(17_001 * NS_PER_MS), "18 s");
        assert_eq!(left(1), "1 s");
        assert_eq!(left(0), "0 s");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn the_time_of_day_follows_the_anchor() {
        let anchor = ClockAnchor {
            mono_ns: 5 * NS_PER_S,
            realtime: 1_795_000_000_123_456_789,
        };

        assert_eq!(time_of_day(Some(&anchor), 6 * NS_PER_S), "11:06:41.123");
        assert_eq!(time_of_day(None, 1_234_567_890), "       1.234");
    }
}
