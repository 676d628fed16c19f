//! A time or an event to go to, as it is typed.

use crate::event::{ClockAnchor, rfc3339};
use crate::tui::state::replay::ReplayPosition;
use crate::tui::units::{self, NS_PER_MS, NS_PER_S};

/// What may be typed, for the prompt.
pub(crate) const LANGUAGE: &str = "11:06:41, -30s and +5m from here, 50%, #123";

const NS_PER_DAY: u64 = 86_400 * NS_PER_S;

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeTarget {
    /// To a time of day, in nanoseconds since midnight, UTC.
    Clock(u64),
    /// So many nanoseconds on from what is shown.
    On(u64),
    /// So many nanoseconds back from it.
    Back(u64),
    /// To so many percent of the whole.
    Share(u64),
    /// To the event with this position.
    Event(u64),
}

/// What there is to go through, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to each name")]
pub(crate) struct TimeRange {
    /// What is shown now.
    pub(crate) here_ns: u64,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
}

impl TimeRange {
    /// What there is of a recording; its end may not be known yet.
    pub(crate) fn of_replay(position: &ReplayPosition) -> Self {
        let last_ns = match position.reading {
            Some(_) => u64::MAX,
            None => position.last_ns,
        };
        Self {
            here_ns: position.now_ns,
            first_ns: position.first_ns,
            last_ns,
        }
    }
}

impl TimeTarget {
    /// Reads what was typed; the error says what could be.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let duration = |text: &str, sign: char| {
            humantime::parse_duration(text.trim())
                .map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
                .map_err(|why| format!("`{sign}{text}`: {why}; write {sign}30s or {sign}5m"))
        };
        if let Some(rest) = text.strip_prefix('+') {
            return duration(rest, '+').map(Self::On);
        }
        if let Some(rest) = text.strip_prefix(['-', '−']) {
            return duration(rest, '-').map(Self::Back);
        }
        if let Some(rest) = text.strip_prefix('#') {
            let seq = rest.trim().parse();
            return seq
                .map(Self::Event)
                .map_err(|_| format!("`{text}` is no event; write #123"));
        }
        if let Some(rest) = text.strip_suffix('%') {
            let percent = rest.trim().parse::<u64>();
            return percent
                .map(|percent| Self::Share(percent.min(100)))
                .map_err(|_| format!("`{text}` is no share; write 50%"));
        }
        clock(text)
            .map(Self::Clock)
            .ok_or_else(|| format!("`{text}` is no time; write {LANGUAGE}"))
    }

    /// The time that is meant, within what there is; `None`: it is an event, or
    /// the time of day is not known. A time of day is the first since the
    /// beginning; what would be after the end is taken for the last before it.
    pub(crate) fn resolve(self, span: TimeRange, anchor: Option<ClockAnchor>) -> Option<u64> {
        let TimeRange {
            here_ns,
            first_ns,
            last_ns,
        } = span;
        let mono_ns = match self {
            Self::On(by) => here_ns.saturating_add(by),
            Self::Back(by) => here_ns.saturating_sub(by),
            Self::Share(percent) => {
                let length = u128::from(last_ns.saturating_sub(first_ns));
                let share = length * u128::from(percent) / 100;
                first_ns.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
            }
            Self::Clock(wanted_ns) => {
                let realtime_ns = anchor?.realtime_ns(first_ns);
                let began_ns = clock(rfc3339::format(realtime_ns).get(11..29)?)?;
                let offset_ns = if wanted_ns >= began_ns {
                    wanted_ns - began_ns
                } else if began_ns - wanted_ns < NS_PER_S {
                    // Within the second of the first event.
                    0
                } else {
                    wanted_ns + NS_PER_DAY - began_ns
                };
                first_ns.saturating_add(offset_ns)
            }
            Self::Event(_) => return None,
        };
        Some(mono_ns.clamp(first_ns, last_ns.max(first_ns)))
    }
}

/// `11:06`, `11:06:41` or `11:06:41.5` in nanoseconds since midnight.
fn clock(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let numbers: Vec<u64> = whole
        .split(':')
        .map(|number| {
            let is_short = number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| is_short)
        })
        .collect::<Option<_>>()?;
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] if !text.contains('.') => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 || part.is_empty() || part.len() > 9 {
        return None;
    }
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u64 = format!("{part:0<9}").parse().ok().filter(|_| digits)?;
    Some(((hour * 60 + minute) * 60 + second) * NS_PER_S + part)
}

/// A length of time, as the reply to a key has it.
pub(crate) fn duration(ns: u64) -> String {
    if ns < NS_PER_S {
        format!("{} ms", ns / NS_PER_MS)
    } else {
        units::age(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 11:06:41.5 to ten minutes later; a minute of it has gone by.
    fn span() -> (TimeRange, ClockAnchor) {
        let first_ns = 5_500_000_000;
        let span = TimeRange {
            here_ns: first_ns + 60 * NS_PER_S,
            first_ns,
            last_ns: first_ns + 600 * NS_PER_S,
        };
        let anchor = ClockAnchor {
            mono_ns: 5_000_000_000,
            realtime: 1_795_000_001_000_000_000,
        };
        (span, anchor)
    }

    #[test]
    fn times_are_read_as_they_are_typed() {
        let (span, anchor) = span();
        let first = rfc3339::format(anchor.realtime_ns(span.first_ns));
        assert_eq!(&first[11..21], "11:06:41.5", "{first}");

        for (text, after_ms) in [
            ("+90s", 150_000),
            ("-30s", 30_000),
            ("-1h", 0),
            ("+1h", 600_000),
            ("0%", 0),
            ("50%", 300_000),
            ("100%", 600_000),
            ("900%", 600_000),
            ("11:08:42", 120_500),
            ("11:06:43.25", 1_750),
            ("11:10", 198_500),
            ("11:06:41", 0),
            ("11:59:59", 600_000),
            ("10:00", 600_000),
            (" 50% ", 300_000),
        ] {
            let when = TimeTarget::parse(text).expect(text);
            let ns = when.resolve(span, Some(anchor)).expect(text);
            assert_eq!((ns - span.first_ns) / NS_PER_MS, after_ms, "{text}");
        }
        assert_eq!(TimeTarget::parse("#123"), Ok(TimeTarget::Event(123)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "noon",
            "11",
            "25:61",
            "24:00",
            "+soon",
            "-",
            "x%",
            "1:2:3:4",
            "#",
            "#-1",
            "11:+6",
            "11:06.5",
            "11:06:41.",
            "1:1:1.0000000000",
        ] {
            assert!(TimeTarget::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_calendar_only_lengths_and_shares_are_known() {
        let (span, _) = span();

        assert_eq!(TimeTarget::Clock(5).resolve(span, None), None);
        assert_eq!(
            TimeTarget::Share(0).resolve(span, None),
            Some(span.first_ns)
        );
    }
}
