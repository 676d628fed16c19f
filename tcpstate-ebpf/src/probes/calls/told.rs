//! What is told of every call, however it ended.

use tcpstate_common::{
    offsets::MISSING,
    record::{CallRecord, Kind, socket_flags, via},
};

use super::Returned;
use crate::{
    error::Skip,
    filter,
    globals::offset,
    maps::{InFlight, SCRATCH},
    memory::{Addr, read},
    mptcp::{self, Carrier},
    output,
    sock::{self, Common, Head as _},
    task,
};

/// The port that was asked for.
#[inline(always)]
pub(super) fn requested_port(in_flight: &InFlight) -> u16 {
    u16::from_be_bytes([in_flight.requested[2], in_flight.requested[3]])
}

/// The socket of a call, if it is a TCP one that is of interest.
pub(super) struct Target {
    pub(super) carrier: Carrier,
    pub(super) netns: u32,
}

#[inline(always)]
pub(super) fn target(sk: Addr, in_flight: &InFlight, common: &mut Common) -> Result<Target, Skip> {
    let carrier = mptcp::carrier(sk, common)?;
    let requested = requested_port(in_flight);
    if !filter::wants_ports(common.local_port(), common.peer_port())
        && !filter::wants_ports(requested, requested)
    {
        return Err(Skip::NotWanted);
    }
    let netns = sock::netns_of(common.net())?;
    if !filter::wants_netns(netns) {
        return Err(Skip::NotWanted);
    }
    filter::watch(common.cookie());
    Ok(Target { carrier, netns })
}

/// Takes this CPU's scratch for a call. A function hook keeps its CPU, but a
/// task may be put aside inside it: then there is none for the next one's call.
#[inline(always)]
pub(super) fn take_scratch(in_flight: &InFlight) -> Result<(), Skip> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: this CPU's scratch.
    unsafe {
        let is_taken = &raw mut (*scratch).is_taken;
        if is_taken.read_volatile() != 0 {
            return Err(Skip::Busy);
        }
        is_taken.write_volatile(1);
        (*scratch).in_flight = *in_flight;
    }
    Ok(())
}

#[inline(always)]
pub(super) fn give_scratch_back() {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: this CPU's scratch, which is ours.
        unsafe { (&raw mut (*scratch).is_taken).write_volatile(0) };
    }
}

#[inline(always)]
pub(super) unsafe fn write_call(
    to: *mut CallRecord,
    kind: Kind,
    in_flight: &InFlight,
    returned: &Returned,
    target: &Target,
    common: &Common,
) {
    let port_start = if offset!(net_prot_sock) == MISSING {
        u32::MAX
    } else {
        read(common.net() + u64::from(offset!(net_prot_sock))).unwrap_or(u32::MAX)
    };
    // SAFETY: the caller vouches for `to`.
    unsafe {
        output::write_head(&raw mut (*to).head, kind);
        let socket = &raw mut (*to).socket;
        common.write_to(socket, common.cookie(), target.netns, common.local_port());
        if target.carrier.is_mptcp {
            (*socket).flags |= socket_flags::MPTCP;
        }
        (*to).call = returned.call;
        (*to).via = returned.via;
        (*to).addr_len = in_flight.addr_len;
        (*to).errno = returned.errno;
        (*to).requested = in_flight.requested;
        (*to).unprivileged_port_start = port_start;
        if returned.via == via::KERNEL {
            task::write_nobody(&raw mut (*to).task);
        } else {
            task::write_current(&raw mut (*to).task);
        }
    }
}
