//! `accept`, `accept4`: reported only where another process than the one that
//! called `listen` takes the connection: a worker, an activated service.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use tcpstate_common::{
    config::{ListenerKey, flags},
    record::{AF_INET, AF_INET6, CallRecord, Counter, Kind, SOCKADDR_LEN, call, socket_flags, via},
};

use super::calls::word;
use crate::{
    counters::{self, finish},
    error::Skip,
    filter,
    globals::is_set,
    maps::{EVENTS, LISTENERS},
    memory::Addr,
    mptcp::{self, Carrier},
    output,
    sock::{self, Common, SockCommon as _},
    task,
};

/// The return of both calls.
#[tracepoint]
pub(crate) fn sys_exit_accept(ctx: TracePointContext) -> u32 {
    finish(try_accept(&ctx));
    0
}

#[inline(always)]
fn try_accept(ctx: &TracePointContext) -> Result<(), Skip> {
    let result = word::<2>(ctx) as i64;
    if result < 0 || !filter::wants_current() {
        return Err(Skip::NotWanted);
    }
    let file = task::file_of(result as u32)?;
    if is_passed_over(task::presumed_sock_of_file(file)?)? {
        return Err(Skip::NotWanted);
    }
    report(task::sock_of_file(file)?, via::SYSCALL)
}

/// Whether the connection `sk` is the listener's own or not of interest, which
/// nearly all are, as far as a few reads show; [`report`] checks again in full.
#[inline(always)]
fn is_passed_over(sk: Addr) -> Result<bool, Skip> {
    let mut common = Common::empty();
    common.fill(sk)?;
    if !matches!(common.family(), AF_INET | AF_INET6) {
        return Ok(true);
    }
    let (port, peer_port) = (common.local_port(), common.peer_port());
    // An MPTCP socket or one that was reset may not have them.
    if port == 0 || peer_port == 0 {
        return Ok(false);
    }
    if !filter::wants_ports(port, peer_port) {
        return Ok(true);
    }
    // A socket of a process of interest has to be noted.
    if is_set(flags::FILTER_PIDS) {
        return Ok(false);
    }
    let netns = sock::netns_of(common.net())?;
    Ok(!filter::wants_netns(netns) || is_listening(netns, port))
}

/// Whether the current process listens on this port.
#[inline(always)]
fn is_listening(netns: u32, port: u16) -> bool {
    let key = ListenerKey {
        tgid: task::tgid(),
        netns,
        port: u32::from(port),
    };
    LISTENERS.get_ptr(key).is_some()
}

/// Reports the connection `sk` that the current process has accepted.
#[inline(always)]
pub(super) fn report(sk: Addr, via: u8) -> Result<(), Skip> {
    let mut common = Common::empty();
    let Carrier { sk, is_mptcp } = mptcp::carrier(sk, &mut common)?;
    // A connection that was reset before it was accepted has no `skc_num`.
    let port = sock::local_port(sk, &common)?;
    if !filter::wants_ports(port, common.peer_port()) {
        return Err(Skip::NotWanted);
    }
    let netns = sock::netns_of(common.net())?;
    if !filter::wants_netns(netns) {
        return Err(Skip::NotWanted);
    }
    let cookie = common.cookie();
    filter::watch(cookie);
    if is_listening(netns, port) {
        return Err(Skip::NotWanted);
    }

    let Some(mut entry) = EVENTS.reserve::<CallRecord>(0) else {
        return Err(Skip::Full);
    };
    let to = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written.
    unsafe {
        output::write_header(&raw mut (*to).header, Kind::Call);
        common.write_to(&raw mut (*to).socket, cookie, netns, port);
        if is_mptcp {
            (*to).socket.flags |= socket_flags::MPTCP;
        }
        (*to).call = call::ACCEPT;
        (*to).via = via;
        (*to).addr_len = 0;
        (*to).errno = 0;
        (*to).requested = [0; SOCKADDR_LEN];
        (*to).unprivileged_port_start = u32::MAX;
        if via == via::KERNEL {
            task::write_no_task(&raw mut (*to).task);
        } else {
            task::write_current(&raw mut (*to).task);
        }
    }
    entry.submit(output::NO_WAKEUP);
    counters::count(Counter::Written);
    Ok(())
}
