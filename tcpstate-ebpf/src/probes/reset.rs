//! `tcp_send_reset` and `tcp_receive_reset`.
//!
//! From Linux 6.10 on a reset can be sent without a socket, or for a request or
//! a mini-socket. So both arguments are taken as plain addresses, and every
//! read is checked.

use aya_ebpf::{EbpfContext, macros::btf_tracepoint, programs::BtfTracePointContext};
use tcpstate_common::{
    offsets::MISSING,
    record::{AF_INET, AF_INET6, Kind, ResetRecord, SocketWire, direction, sk_flags, socket_flags},
};

use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::offset,
    maps::EVENTS,
    memory::{Addr, read, read_addr, untyped_arg},
    output,
    sock::{self, Common, SockCommon as _, state},
    task,
};

#[btf_tracepoint(function = "tcp_send_reset")]
pub(crate) fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    finish(try_send_reset(&ctx));
    0
}

#[btf_tracepoint(function = "tcp_receive_reset")]
pub(crate) fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    finish(try_receive_reset(&ctx));
    0
}

#[inline(always)]
fn try_send_reset(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sk = untyped_arg(ctx.as_ptr(), 0)?;
    let skb = untyped_arg(ctx.as_ptr(), 1)?;
    let reason = if offset!(send_reset_args) == 3 {
        Some(ctx.arg::<u32>(2))
    } else {
        None
    };
    report(direction::SENT, sk, skb, reason)
}

#[inline(always)]
fn try_receive_reset(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sk = untyped_arg(ctx.as_ptr(), 0)?;
    report(direction::RECEIVED, sk, 0, None)
}

#[inline(always)]
fn report(direction: u8, sk: Addr, skb: Addr, reason: Option<u32>) -> Result<(), Skip> {
    let Some(mut entry) = EVENTS.reserve::<ResetRecord>(0) else {
        return Err(Skip::Full);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written.
    let filled = unsafe {
        output::write_header(&raw mut (*record).header, Kind::Reset);
        (*record).direction = direction;
        (*record).has_socket = u8::from(sk != 0);
        (*record).has_packet = u8::from(skb != 0);
        (*record).has_reason = u8::from(reason.is_some());
        (*record).reason = reason.unwrap_or(0);
        task::write_no_task(&raw mut (*record).task);
        fill(record, sk, skb)
    };
    output::submit_or_discard(entry, filled)
}

/// Fills in the socket and, in process context, the task.
///
/// # Safety
///
/// `record` is valid for writes.
#[inline(always)]
unsafe fn fill(record: *mut ResetRecord, sk: Addr, skb: Addr) -> Result<(), Skip> {
    if sk == 0 {
        // SAFETY: the caller vouches for `record`.
        return unsafe { fill_from_packet_alone(&raw mut (*record).socket, skb) };
    }
    let mut common = Common::empty();
    common.fill(sk)?;
    let port = if common.is_full() {
        sock::local_port(sk, &common)?
    } else {
        common.local_port()
    };
    let netns = sock::netns_of(common.net())?;
    // SAFETY: the caller vouches for `record`.
    let is_sent = unsafe { (*record).direction } == direction::SENT;
    // What arrives is handled on top of whoever is interrupted.
    let by_current = is_sent
        && common.state() == state::CLOSE
        && skb == 0
        && common.sock_flags() & u64::from(sk_flags::DEAD) == 0;
    // SAFETY: the caller vouches for `record`.
    unsafe {
        let socket = &raw mut (*record).socket;
        common.write_to(socket, common.cookie(), netns, port);
        if common.state() == state::TIME_WAIT {
            (*socket).state = sock::substate(sk)?;
            (*socket).flags |= socket_flags::MINI;
        }
        // A listener answers for a peer that only the packet knows.
        if common.state() == state::LISTEN && skb != 0 {
            write_addresses(socket, skb)?;
        }
        if !filter::wants_ports((*socket).local_port, (*socket).peer_port)
            || !filter::wants_netns(netns)
            || !filter::wants_socket(common.cookie(), by_current, 0)
        {
            return Err(Skip::NotWanted);
        }
        if by_current {
            task::write_current(&raw mut (*record).task);
        }
    }
    Ok(())
}

/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
unsafe fn fill_from_packet_alone(to: *mut SocketWire, skb: Addr) -> Result<(), Skip> {
    if skb == 0 {
        return Err(Skip::NotWanted);
    }
    let netns = netns_of_packet(skb).unwrap_or(0);
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).cookie = 0;
        (*to).netns = netns;
        (*to).flags = 0;
        (*to).state = 0;
        (*to).bound_dev_if = 0;
        write_addresses(to, skb)?;
        if !filter::wants_ports((*to).local_port, (*to).peer_port)
            || !filter::wants_netns(netns)
            || !filter::wants_socket(0, false, 0)
        {
            return Err(Skip::NotWanted);
        }
    }
    Ok(())
}

/// The packet's addresses, seen from the side that it was sent to.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
unsafe fn write_addresses(to: *mut SocketWire, skb: Addr) -> Result<(), Skip> {
    if offset!(skb_head) == MISSING
        || offset!(skb_network_header) == MISSING
        || offset!(skb_transport_header) == MISSING
    {
        return Err(Skip::NotWanted);
    }
    let head = read_addr(skb + u64::from(offset!(skb_head)))?;
    let network: u16 = read(skb + u64::from(offset!(skb_network_header)))?;
    let transport: u16 = read(skb + u64::from(offset!(skb_transport_header)))?;
    let ip = head + u64::from(network);
    let version: u8 = read(ip)?;
    let (family, peer, local) = match version >> 4 {
        4 => {
            let peer: u32 = read(ip + 12)?;
            let local: u32 = read(ip + 16)?;
            (AF_INET, [sock::v4_word(peer), 0], [sock::v4_word(local), 0])
        }
        6 => (AF_INET6, read(ip + 8)?, read(ip + 24)?),
        _ => return Err(Skip::NotWanted),
    };
    let ports: [u16; 2] = read(head + u64::from(transport))?;
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).family = family;
        (&raw mut (*to).local_addr).cast::<[u64; 2]>().write(local);
        (&raw mut (*to).peer_addr).cast::<[u64; 2]>().write(peer);
        (*to).peer_port = u16::from_be(ports[0]);
        (*to).local_port = u16::from_be(ports[1]);
    }
    Ok(())
}

#[inline(always)]
fn netns_of_packet(skb: Addr) -> Result<u32, Skip> {
    if offset!(skb_dev) == MISSING || offset!(dev_net) == MISSING {
        return Ok(0);
    }
    let dev = read_addr(skb + u64::from(offset!(skb_dev)))?;
    if dev == 0 {
        return Ok(0);
    }
    sock::netns_of(read_addr(dev + u64::from(offset!(dev_net)))?)
}
