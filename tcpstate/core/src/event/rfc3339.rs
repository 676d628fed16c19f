//! Calendar time as text: RFC 3339, UTC, nine fractional digits.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serializer};

/// Text of a number of nanoseconds since 1970-01-01 UTC.
#[must_use]
pub fn format(realtime_ns: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(realtime_ns)).to_string()
}

/// Nanoseconds since 1970-01-01 UTC of a text; `None` if it is not RFC 3339 or
/// lies outside of 1970 to 2554.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
pub(super) fn serialize<S: Serializer>(
    realtime_ns: &u64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*realtime_ns))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text)
        .ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time between 1970 and 2554"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        let realtime_ns = 1_795_000_000_123_456_789;

        let text = format(realtime_ns);

        assert_eq!(text, "2026-11-18T11:06:40.123456789Z");
        assert_eq!(parse(&text), Some(realtime_ns));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("1969-12-31T23:59:59Z"), None);
    }
}
