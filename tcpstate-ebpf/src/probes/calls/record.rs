//! What the record of every call has, however it ended.

use tcpstate_common::{
    offsets::MISSING,
    record::{CallRecord, Kind, socket_flags, via},
};

use super::Returned;
use crate::{
    atomic,
    error::Skip,
    filter,
    globals::offset,
    in_flight::InFlight,
    maps::SCRATCH,
    memory::{Addr, read},
    mptcp::{self, Carrier},
    output,
    sock::{self, Common, SockCommon as _},
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

/// Acquires this CPU's scratch for a call. A function hook keeps its CPU, but a task may
/// be preempted inside it by another one whose call fails.
///
/// A lock of additions without their sum, which Linux 5.10 has already: each first adds
/// itself and then looks. Whoever finds itself alone has the scratch, and all who come
/// until it leaves find two or more. Two that add before either has looked both give up.
#[inline(always)]
pub(super) fn acquire_scratch(in_flight: &InFlight) -> Result<(), Skip> {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else {
        return Err(Skip::Full);
    };
    // SAFETY: this CPU's scratch, of which no more than the lock is touched before it
    // is ours.
    unsafe {
        let users = &raw mut (*scratch).users;
        atomic::add(users, 1);
        if users.read_volatile() != 1 {
            atomic::add(users, u64::MAX);
            return Err(Skip::Busy);
        }
        (*scratch).in_flight = *in_flight;
    }
    Ok(())
}

/// Gives up what [`acquire_scratch`] has acquired.
#[inline(always)]
pub(super) fn release_scratch() {
    if let Some(scratch) = SCRATCH.get_ptr_mut(0) {
        // SAFETY: this CPU's scratch, which is ours; minus one.
        unsafe { atomic::add(&raw mut (*scratch).users, u64::MAX) };
    }
}

/// Writes all that every call has, however it ended.
///
/// # Safety
///
/// `to` is valid for writes.
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
        output::write_header(&raw mut (*to).header, kind);
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
            task::write_no_task(&raw mut (*to).task);
        } else {
            task::write_current(&raw mut (*to).task);
        }
    }
}
