//! Events as one line of text each, for people and pipes.

use std::fmt::Write as _;

use super::describe;
use super::describe::Context;
use crate::event::{Event, rfc3339};

/// Appends one event as text: a line, for a diagnosis a small block. Ticks are
/// left out; a namespace other than the observer's is named.
pub fn write_event(event: &Event, context: &Context<'_>, out: &mut String) {
    let Some(mut text) = describe::text(event, context) else {
        return;
    };
    if let Some(netns) = context.netns(&event.body) {
        let end_of_line = text.find('\n').unwrap_or(text.len());
        text.insert_str(end_of_line, &format!("  {netns}"));
    }
    put(&text, event.mono_ns, context, out);
}

/// Appends a line with its time, and what is below it.
pub(super) fn put(text: &str, mono_ns: u64, context: &Context<'_>, out: &mut String) {
    let ts = rfc3339::format(context.clock.realtime_ns(mono_ns));
    // 2026-11-18T11:06:41.000000000Z -> 11:06:41.000
    let time = ts.get(11..23).unwrap_or(&ts);
    let mut lines = text.lines();
    if let Some(first) = lines.next() {
        let _ = writeln!(out, "{time}  {first}");
    }
    for line in lines {
        let _ = writeln!(out, "{:12}  {line}", "");
    }
}
