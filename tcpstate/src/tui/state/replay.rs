//! Where in a recording the screen is.

use std::sync::Arc;

use crate::event::ClockAnchor;

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
pub struct ReplayPosition {
    /// It plays.
    pub is_playing: bool,
    /// How fast, as the person reads it.
    pub speed: &'static str,
    /// Events up to here.
    pub event: u64,
    /// Events in all, as far as it was read.
    pub events: u64,
    /// The time shown, monotonic clock of the recording.
    pub now_ns: u64,
    /// What ties these times to the calendar, if the recording begins with its header.
    pub clock: Option<ClockAnchor>,
    /// Time of the first event.
    pub first_ns: u64,
    /// Time of the last event, as far as it was read.
    pub last_ns: u64,
    /// It is still being read: how much of it was, in percent.
    pub reading: Option<u8>,
    /// A seek is pending to what was not read yet.
    pub is_waiting: bool,
    /// On the way to elsewhere: percent of the way.
    pub seeking: Option<u8>,
    /// What is worth a mark, in order.
    pub marks: Arc<[Mark]>,
}
