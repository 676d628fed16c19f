//! One line of a recording: its head, its event, or its fact.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::Event;
use crate::export::json::{self, LineHead};

/// Events that an engine derives again from the others.
const DERIVED: [&str; 5] = [
    "tcp.time_wait.enter",
    "tcp.time_wait.exit",
    "diagnosis",
    "restart",
    "fallback",
];

/// The event of a line; `None`: it cannot be read, or is of a later version.
pub(super) fn parse(line: &[u8]) -> Option<Event> {
    json::read_line(line).ok().and_then(|(_, event)| event)
}

/// The same, and `None` for what an engine derives again.
pub(super) fn parse_fact(line: &[u8]) -> Option<Event> {
    let head = LineHead::as_written(line);
    let is_derived = head.is_some_and(|head| DERIVED.contains(&head.event));
    if is_derived { None } else { parse(line) }
}

/// Name and time of an event, without reading all of it where the line is as
/// this program writes it.
pub(super) fn head(line: &[u8]) -> Option<(Cow<'_, str>, u64)> {
    // A line without its end was cut.
    let as_written = || {
        let head = LineHead::as_written(line.strip_suffix(b"}\n")?)?;
        Some((Cow::Borrowed(head.event), head.mono_ns))
    };
    as_written().or_else(|| {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
            mono_ns: u64,
        }
        let head: Head<'_> = serde_json::from_slice(line).ok()?;
        Some((head.event, head.mono_ns))
    })
}
