//! Where in a recording the screen is.

use std::sync::Arc;

use super::when::Span;

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

impl Position {
    /// What there is to go through.
    pub(crate) fn span(&self) -> Span {
        Span {
            here_ns: self.now_ns,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
        }
    }
}
