//! Where a failed call is put together: too large for the stack.

use tcpstate_common::record::{FailedCallRecord, RepeatWire};

use crate::{in_flight::InFlight, memory::Addr, sock::Common};

/// A failed call while it is put together.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) record: FailedCallRecord,
    /// How far the walk over the bucket has come.
    pub(crate) walk: Walk,
    /// The socket of the call. Neither this copy nor the next is on the stack,
    /// where the kernel allows 512 bytes for a program and all that it calls,
    /// with each function's share rounded up to 32 until Linux 6.7.
    pub(crate) caller: Common,
    /// The holder that is being copied.
    pub(crate) common: Common,
    /// What the count of a new kind of failure begins with.
    pub(crate) first: RepeatWire,
    /// What the call asked for.
    pub(crate) in_flight: InFlight,
    /// How many have it or try to get it.
    pub(crate) users: u64,
}

/// How far a walk has come.
#[repr(C)]
pub(crate) struct Walk {
    /// Next second-level bucket, where there are such; 0: none.
    pub(crate) address: Addr,
    /// Next socket of the current list; 0: none.
    pub(crate) node: Addr,
    /// The socket of the failed call, which does not count.
    pub(crate) failing: Addr,
    /// The one that the kernel conflict over, which is the first of the record;
    /// 0: not known.
    pub(crate) conflict: Addr,
    pub(crate) netns: u32,
    pub(crate) port: u16,
    /// Sockets of this address that may still be visited.
    pub(crate) left: u16,
    /// Mini-sockets recorded.
    pub(crate) minis: u8,
    /// Not 0: a socket is not in the record.
    pub(crate) missed: u8,
    pub(crate) reserved: [u8; 6],
}
