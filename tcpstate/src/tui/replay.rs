//! Where in a recording the screen is.

use std::sync::Arc;

use crate::event::{ClockAnchor, rfc3339};

use super::units::NS_PER_S;

/// What is worth a mark on the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A call failed.
    Failure,
    /// A port was listened on again.
    Restart,
}

/// Something to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, monotonic clock of the recording.
    pub mono_ns: u64,
    /// What.
    pub kind: MarkKind,
}

/// Where in a recording the screen is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// It plays.
    pub is_playing: bool,
    /// How fast, as the person reads it.
    pub speed: &'static str,
    /// Events up to here.
    pub event: u64,
    /// Events in all.
    pub events: u64,
    /// The time shown, monotonic clock of the recording.
    pub now_ns: u64,
    /// Time of the first event.
    pub first_ns: u64,
    /// Time of the last event.
    pub last_ns: u64,
    /// On the way to elsewhere: percent of the way.
    pub seeking: Option<u8>,
    /// What is worth a mark, in order.
    pub marks: Arc<[Mark]>,
}

const NS_PER_DAY: u64 = 86_400 * NS_PER_S;

impl Position {
    /// The time that somebody typed: `11:06:41` (of the recording's first day,
    /// or the next), `+90s` from the beginning, `50%` of the whole.
    pub(crate) fn time(&self, text: &str, anchor: Option<ClockAnchor>) -> Result<u64, String> {
        let text = text.trim();
        let length_ns = self.last_ns.saturating_sub(self.first_ns);
        let mono_ns = if let Some(offset) = text.strip_prefix('+') {
            let offset = humantime::parse_duration(offset.trim())
                .map_err(|why| format!("`{text}`: {why}; write +90s or +2m"))?;
            let offset = u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX);
            self.first_ns.saturating_add(offset)
        } else if let Some(percent) = text.strip_suffix('%') {
            let percent: u64 = percent
                .trim()
                .parse()
                .map_err(|_| format!("`{text}` is no share; write 50%"))?;
            let share = u128::from(length_ns) * u128::from(percent.min(100)) / 100;
            self.first_ns
                .saturating_add(u64::try_from(share).unwrap_or(length_ns))
        } else {
            self.time_of_day(text, anchor)
                .ok_or_else(|| format!("`{text}` is no time; write 11:06:41, +90s or 50%"))?
        };
        Ok(mono_ns.clamp(self.first_ns, self.last_ns))
    }

    fn time_of_day(&self, text: &str, anchor: Option<ClockAnchor>) -> Option<u64> {
        let anchor = anchor?;
        let mut seconds = 0_u64;
        let mut parts = 0;
        for part in text.split(':') {
            let part: u64 = part.parse().ok().filter(|part| *part < 60)?;
            seconds = seconds * 60 + part;
            parts += 1;
        }
        let seconds = match parts {
            2 => seconds * 60,
            3 => seconds,
            _ => return None,
        };
        let first = rfc3339::format(anchor.realtime_ns(self.first_ns));
        let clock = first.get(11..19)?;
        let mut began = 0_u64;
        for part in clock.split(':') {
            began = began * 60 + part.parse::<u64>().ok()?;
        }
        let wanted_ns = seconds * NS_PER_S;
        let began_ns = began * NS_PER_S;
        let offset_ns = if wanted_ns >= began_ns {
            wanted_ns - began_ns
        } else {
            wanted_ns + NS_PER_DAY - began_ns
        };
        // The first event came somewhere within its second.
        let within_ns = anchor.realtime_ns(self.first_ns) % NS_PER_S;
        Some((self.first_ns + offset_ns).saturating_sub(within_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 11:06:41.5 to ten minutes later.
    fn position() -> (Position, ClockAnchor) {
        let first_ns = 5_500_000_000;
        let position = Position {
            is_playing: false,
            speed: "1×",
            event: 0,
            events: 10,
            now_ns: first_ns,
            first_ns,
            last_ns: first_ns + 600 * NS_PER_S,
            seeking: None,
            marks: Arc::new([]),
        };
        let anchor = ClockAnchor {
            mono_ns: 5_000_000_000,
            realtime: 1_795_000_001_000_000_000,
        };
        (position, anchor)
    }

    #[test]
    fn times_are_read_as_they_are_typed() {
        let (position, anchor) = position();
        let at = |text| {
            position
                .time(text, Some(anchor))
                .map(|ns| (ns - position.first_ns) / NS_PER_S)
        };
        let first = rfc3339::format(anchor.realtime_ns(position.first_ns));
        assert_eq!(&first[11..19], "11:06:41", "{first}");

        assert_eq!(at("+90s"), Ok(90));
        assert_eq!(at("50%"), Ok(300));
        assert_eq!(position.time("100%", None), Ok(position.last_ns));
        assert_eq!(at("11:08:42"), Ok(120));
        assert_eq!(at("11:10"), Ok(198));
        assert_eq!(at("11:59:59"), Ok(600), "not beyond the end");
        assert_eq!(at("+1h"), Ok(600));
        for wrong in ["", "noon", "11", "25:61", "+soon", "x%", "1:2:3:4"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
