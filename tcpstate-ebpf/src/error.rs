//! Why a probe skips an event. Every reason is counted or expected.

use tcpstate_common::record::Counter;

/// Why a probe wrote no record.
#[derive(Clone, Copy)]
pub(crate) enum Skip {
    /// Not of interest: filtered, another protocol, not a socket.
    NotWanted,
    /// Kernel memory could not be read.
    Read,
    /// The ring buffer has no room.
    Full,
    /// This CPU's scratch is in use by another call.
    Busy,
    /// The map of calls in flight has no room for the call's entry.
    NotStored,
    /// Rate-limited: the call was counted instead of reported.
    Counted,
}

impl Skip {
    /// The counter that this adds to.
    #[inline(always)]
    pub(crate) fn counter(self) -> Option<Counter> {
        match self {
            Self::NotWanted => None,
            Self::Read => Some(Counter::ReadFailed),
            Self::Full | Self::Busy => Some(Counter::Dropped),
            Self::NotStored => Some(Counter::CallsForgotten),
            Self::Counted => Some(Counter::Counted),
        }
    }
}
