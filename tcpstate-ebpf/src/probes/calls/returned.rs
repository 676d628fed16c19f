//! A call that has returned, and what became of its report, as numbers: a function
//! that the verifier reads by itself takes and gives nothing else.

use crate::{error::Skip, memory::Addr};

/// A call that has returned.
pub(in crate::probes) struct Returned {
    /// [`call`].
    pub(in crate::probes) call: u8,
    /// [`via`].
    pub(in crate::probes) via: u8,
    /// 0: it succeeded.
    pub(in crate::probes) errno: u32,
    /// Its socket.
    pub(in crate::probes) sk: Addr,
    /// Other hooks follow, of which one wakes the reader if the call has failed.
    pub(in crate::probes) is_followed: bool,
}

impl Returned {
    /// All but the socket in one word.
    #[inline(always)]
    pub(super) fn packed(&self) -> u64 {
        u64::from(self.errno) << 32
            | u64::from(self.is_followed) << 16
            | u64::from(self.via) << 8
            | u64::from(self.call)
    }

    #[inline(always)]
    pub(super) fn unpacked(sk: Addr, packed: u64) -> Self {
        Self {
            call: packed as u8,
            via: (packed >> 8) as u8,
            errno: (packed >> 32) as u32,
            sk,
            is_followed: packed >> 16 & 1 == 1,
        }
    }
}

/// What [`failed_call`] and [`succeeded_call`] return besides a status of the
/// walk: no record was written.
const NOT_WANTED: u64 = 100;
const READ: u64 = 101;
const FULL: u64 = 102;
const BUSY: u64 = 103;
const COUNTED: u64 = 104;

#[inline(always)]
pub(super) fn code(skip: Skip) -> u64 {
    match skip {
        Skip::NotWanted => NOT_WANTED,
        Skip::Read => READ,
        Skip::Full | Skip::NotStored => FULL,
        Skip::Busy => BUSY,
        Skip::Counted => COUNTED,
    }
}

#[inline(always)]
pub(super) fn outcome(code: u64) -> Result<u64, Skip> {
    match code {
        NOT_WANTED => Err(Skip::NotWanted),
        READ => Err(Skip::Read),
        FULL => Err(Skip::Full),
        BUSY => Err(Skip::Busy),
        COUNTED => Err(Skip::Counted),
        status => Ok(status),
    }
}
