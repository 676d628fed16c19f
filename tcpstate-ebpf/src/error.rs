//! Why a probe gave up. Every reason is a counter or is expected.

use tcpstate_common::record::Counter;

/// Why a probe wrote no record.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// Not of interest: filtered, another protocol, not a socket.
    NotWanted,
    /// Kernel memory could not be read.
    Read,
    /// The ring buffer has no room.
    Full,
    /// Another call is being put together where this one would be.
    Busy,
    /// The call's entry could not be remembered.
    Forgotten,
    /// The same has failed too often, or its user's calls have: it was counted.
    Counted,
}

impl Stop {
    /// The counter that this adds to.
    #[inline(always)]
    pub(crate) fn counter(self) -> Option<Counter> {
        match self {
            Self::NotWanted => None,
            Self::Read => Some(Counter::ReadFailed),
            Self::Full | Self::Busy => Some(Counter::Dropped),
            Self::Forgotten => Some(Counter::CallsForgotten),
            Self::Counted => Some(Counter::Counted),
        }
    }
}

/// Counts why a probe gave up; the last thing that every entry function does.
#[inline(always)]
pub(crate) fn finish(result: Result<(), Stop>) {
    if let Err(stop) = result
        && let Some(counter) = stop.counter()
    {
        crate::maps::count(counter);
    }
}
