//! Events as JSON lines, and back.

mod head;
mod lines;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use head::LineHead;
pub use lines::Lines;

use crate::event::{Body, ClockAnchor, Event, KnownBy};

/// Appends one event as one line.
///
/// # Errors
///
/// Never for events of this program: they hold no map with odd keys.
pub fn write_line(event: &Event, clock: ClockAnchor, line: &mut Vec<u8>) -> serde_json::Result<()> {
    Lines::default().write(event, clock, line)
}

/// Reads one line: its position and its event.
///
/// No event: one of a later version, to be ignored. What the engine worked
/// out itself when the line was written (a process with `via: tracked`) is left
/// out: it is worked out anew. Who connected stays beside the peer's answer.
///
/// # Errors
///
/// The line is not JSON, or lacks what its event requires.
pub fn read_line(line: &[u8]) -> serde_json::Result<(u64, Option<Event>)> {
    #[derive(Deserialize)]
    struct Common<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
        seq: u64,
        mono_ns: u64,
    }
    // A line as we write it is read once, any other twice.
    let common = match LineHead::as_written(line) {
        Some(head) => Common {
            event: Cow::Borrowed(head.event),
            seq: head.seq,
            mono_ns: head.mono_ns,
        },
        None => serde_json::from_slice(line)?,
    };
    let Some(body) = Body::read(&common.event, line)? else {
        serde_json::from_slice::<IgnoredAny>(line)?;
        return Ok((common.seq, None));
    };
    let event = Event {
        seq: common.seq,
        mono_ns: common.mono_ns,
        body: without_conclusions(body),
    };
    Ok((common.seq, Some(event)))
}

fn without_conclusions(mut body: Body) -> Body {
    let process = match &mut body {
        // Where hooks are given no cookies the kernel program says who connected, and
        // nothing else does.
        Body::State(change) if change.is_answer() => return body,
        Body::State(change) => &mut change.process,
        Body::Reset(reset) => &mut reset.process,
        _ => return body,
    };
    if process
        .as_ref()
        .is_some_and(|process| process.via == KnownBy::Tracked)
    {
        *process = None;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Loss, LossStage};

    #[test]
    fn a_line_starts_with_the_fields_that_every_event_has() {
        let event = Event {
            seq: 7,
            mono_ns: 1_000_000_000,
            body: Body::Loss(Loss {
                stage: LossStage::Kernel,
                count: 3,
                resynced: false,
            }),
        };
        let clock = ClockAnchor {
            mono_ns: 0,
            realtime: 1_795_000_000_000_000_000,
        };
        let mut line = Vec::new();

        write_line(&event, clock, &mut line).unwrap();

        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"event\":\"loss\",\"seq\":7,\"ts\":\"2026-11-18T11:06:41.000000000Z\",\"mono_ns\":1000000000,\
             \"stage\":\"kernel\",\"count\":3,\"resynced\":false}\n"
        );
        assert_eq!(read_line(&line).unwrap(), (7, Some(event)));
    }

    #[test]
    fn an_event_of_a_later_version_is_ignored() {
        let line = br#"{"event":"tcp.retransmit","seq":1,"ts":"x","mono_ns":2,"what":"ever"}"#;

        assert_eq!(read_line(line).unwrap(), (1, None));
    }

    #[test]
    fn a_line_that_lacks_a_field_is_an_error() {
        assert!(read_line(br#"{"event":"loss","seq":1,"mono_ns":2,"count":3}"#).is_err());
        assert!(read_line(b"{").is_err());
    }
}
