//! What a call asked for, as its hooks hand it on.

use tcpstate_common::record::SOCKADDR_LEN;

/// A call between entry and return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    /// The caller's `struct sockaddr`.
    pub(crate) user_addr: u64,
    /// Descriptor.
    pub(crate) fd: u32,
    /// `tcpstate_common::record::call`.
    pub(crate) call: u16,
    /// Length of the address, at most 65,535.
    pub(crate) addr_len: u16,
    /// The address, where it was read at entry.
    pub(crate) requested: [u8; SOCKADDR_LEN],
    /// Zero.
    pub(crate) reserved: u32,
}

impl InFlight {
    /// No call.
    pub(crate) const NONE: Self = Self {
        user_addr: 0,
        fd: 0,
        call: 0,
        addr_len: 0,
        requested: [0; SOCKADDR_LEN],
        reserved: 0,
    };

    /// A call of which no more is known yet.
    #[inline(always)]
    pub(crate) fn of(call: u8) -> Self {
        let mut in_flight = Self::NONE;
        in_flight.call = u16::from(call);
        in_flight
    }
}
