//! The fields that every line begins with, without reading the rest of it.

use memchr::memchr;

/// The fields that every line begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineHead<'a> {
    /// What happened.
    pub event: &'a str,
    /// Its position.
    pub seq: u64,
    /// When, monotonic clock.
    pub mono_ns: u64,
}

/// Longest name of an event, and longest calendar time, that are looked for.
const MAX_TEXT: usize = 48;

impl<'a> LineHead<'a> {
    /// Of a line as this program writes it. `None`: it is written otherwise, and
    /// may be an event all the same.
    #[must_use]
    pub fn as_written(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"event\":\"")?;
        let (event, rest) = text(rest, |byte| {
            byte.is_ascii_lowercase() || matches!(byte, b'.' | b'_')
        })?;
        let (seq, rest) = number(rest.strip_prefix(b",\"seq\":")?)?;
        let (_, rest) = text(rest.strip_prefix(b",\"ts\":\"")?, |byte| {
            byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'T' | b'Z')
        })?;
        let (mono_ns, rest) = number(rest.strip_prefix(b",\"mono_ns\":")?)?;
        matches!(rest.first(), Some(b',' | b'}')).then_some(Self {
            event,
            seq,
            mono_ns,
        })
    }
}

/// Up to the quotation mark, and what is behind it.
fn text(bytes: &[u8], is_allowed: impl Fn(u8) -> bool) -> Option<(&str, &[u8])> {
    let end = memchr(b'"', bytes.get(..MAX_TEXT).unwrap_or(bytes))?;
    let (text, rest) = bytes.split_at(end);
    let text = text.iter().all(|byte| is_allowed(*byte)).then_some(text)?;
    Some((std::str::from_utf8(text).ok()?, &rest[1..]))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at(length);
    // JSON has no 007.
    if digits.len() > 1 && digits[0] == b'0' {
        return None;
    }
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_line_is_read_as_it_is_written() {
        let line = br#"{"event":"tcp.time_wait.exit","seq":7,"ts":"2026-11-21T10:00:00.000000000Z","mono_ns":18446744073709551615,"sock":"#;

        assert_eq!(
            LineHead::as_written(line),
            Some(LineHead {
                event: "tcp.time_wait.exit",
                seq: 7,
                mono_ns: u64::MAX
            })
        );
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_a_reader_of_json() {
        let line = r#"{"event":"tick","seq":7,"ts":"2026","mono_ns":5}"#;
        assert!(LineHead::as_written(line.as_bytes()).is_some());
        for (from, to) in [
            ("{", " {"),
            ("tick", "ti\\u0063k"),
            ("tick", "\u{e9}"),
            ("7", "07"),
            ("7", "-7"),
            ("7", "7.5"),
            ("7", "\"7\""),
            ("\"seq\":7", "\"seq\": 7"),
            ("2026", "20\\\"26"),
            ("2026", "20\n26"),
            ("5}", "5"),
            ("5}", "}"),
            ("5}", "5e3}"),
            ("5}", "18446744073709551616}"),
        ] {
            let line = line.replace(from, to);
            assert_eq!(LineHead::as_written(line.as_bytes()), None, "{line}");
        }
    }
}
