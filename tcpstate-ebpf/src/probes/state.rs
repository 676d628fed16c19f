//! `inet_sock_set_state`: every change of every TCP socket's state.

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_storage_get},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use tcpstate_common::{
    config::{ListenerKey, flags},
    offsets::MISSING,
    record::{
        AF_INET6, Counter, Kind, ShortStateRecord, StateRecord, TaskWire, sk_flags, socket_flags,
    },
};

use crate::{
    counters::{self, finish},
    error::Skip,
    filter,
    globals::{is_set, offset},
    maps::{EVENTS, LISTENERS, ORIGIN},
    memory::{Addr, Typed},
    mini::{self, Mini},
    mptcp, output, owner,
    probes::connecting,
    sock::{self, IPPROTO_TCP, SockCommon as _, state},
    task,
};

#[btf_tracepoint(function = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    finish(try_state(&ctx));
    0
}

#[inline(always)]
fn try_state(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sk: Addr = ctx.arg(0);
    let old = ctx.arg::<u32>(1) as u8;
    let new = ctx.arg::<u32>(2) as u8;
    // Up to Linux 6.17 the child still has its listener's identity here; it is
    // seen at SYN_RECV -> ESTABLISHED.
    if old == state::LISTEN && new == state::SYN_RECV {
        return Err(Skip::NotWanted);
    }
    // SAFETY: the tracepoint's own argument, a `struct sock`.
    let head = unsafe { Typed::new(sk) };
    let port = if new == state::CLOSE {
        sock::local_port(sk, &head)?
    } else {
        // 0 where `listen` or `connect` is called on an unbound socket: the kernel
        // chooses the port only after this transition (`inet_csk_listen_start`,
        // `tcp_v4_connect`), and writes it to no field before. Under a port filter
        // the transition is then not reported; the call's own record, made at its
        // return, has the port.
        head.local_port()
    };
    if !filter::wants_ports(port, head.peer_port()) {
        return Err(Skip::NotWanted);
    }
    if head.load::<u16>(offset!(sk_protocol)) != IPPROTO_TCP {
        return Err(Skip::NotWanted);
    }
    let net = head.follow(offset!(skc_net));
    // Never so, and said for the verifier: where the kernel's types mark what RCU
    // protects, such a pointer may be NULL to it.
    if net.is_null() {
        return Err(Skip::NotWanted);
    }
    let netns = net.load::<u32>(offset!(net_inum));
    if !filter::wants_netns(netns) {
        return Err(Skip::NotWanted);
    }
    let sk_err = head.load::<u32>(offset!(sk_err)) as u16;
    // A subflow of MPTCP is reset by whatever handles the packet, with no error.
    let by_current = is_process_context(old, new, sk_err, &head)
        && !(new == state::CLOSE && old != state::LISTEN && mptcp::is_subflow(sk));
    let cookie = cookie(sk, &head);
    let listener = if old == state::SYN_RECV {
        origin(sk)
    } else {
        0
    };
    if !filter::wants_socket(cookie, by_current, listener) {
        return Err(Skip::NotWanted);
    }
    if new == state::LISTEN {
        remember_listener(sk, cookie, netns, port);
    }
    let mini = if new == state::CLOSE && matches!(old, state::FIN_WAIT2 | state::CLOSING) {
        mini::find(&head, net, port, old, sk_err)
    } else {
        Mini::NOT_SEARCHED
    };
    let connector = match (old, new) {
        (_, state::SYN_SENT) if cookie == 0 && port == 0 => {
            connecting::note(sk);
            None
        }
        (state::SYN_SENT, _) => connecting::take(sk, new),
        _ => None,
    };
    let change = Transition {
        old,
        new,
        port,
        sk_err,
        netns,
        cookie,
        listener,
        mini,
    };
    if by_current || connector.is_some() || head.family() == AF_INET6 {
        write_long(&head, net, &change, by_current, connector.as_ref())
    } else {
        write_short(&head, &change)
    }
}

/// What distinguishes the namespace at `net` from others that had its inode number:
/// its cookie or, before Linux 5.12, the number that it was given at random.
#[inline(always)]
fn netns_identity(net: Typed) -> u32 {
    if offset!(net_cookie) != MISSING {
        net.load::<u64>(offset!(net_cookie)) as u32
    } else if offset!(net_hash_mix) != MISSING {
        net.load::<u32>(offset!(net_hash_mix))
    } else {
        0
    }
}

/// What has been found out about a transition.
struct Transition {
    old: u8,
    new: u8,
    port: u16,
    sk_err: u16,
    netns: u32,
    cookie: u64,
    listener: u64,
    mini: Mini,
}

#[inline(always)]
fn write_long(
    head: &Typed,
    net: Typed,
    change: &Transition,
    by_current: bool,
    connector: Option<&TaskWire>,
) -> Result<(), Skip> {
    let new = change.new;
    // `listen` and `connect` of the kernel run in whatever asked it to.
    let is_kernels =
        matches!(new, state::LISTEN | state::SYN_SENT) && owner::is_kernels(head.addr());
    let netns_cookie = if new == state::LISTEN {
        netns_identity(net)
    } else {
        0
    };
    let Some(mut entry) = EVENTS.reserve::<StateRecord>(0) else {
        return Err(Skip::Full);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written.
    unsafe {
        output::write_header(&raw mut (*record).header, Kind::State);
        head.write_to(
            &raw mut (*record).socket,
            change.cookie,
            change.netns,
            change.port,
        );
        (*record).socket.state = new;
        if is_kernels {
            (*record).socket.flags |= socket_flags::KERNEL;
        }
        (*record).old = change.old;
        (*record).new = new;
        (*record).mini = change.mini.verdict;
        (*record).mini_state = change.mini.state;
        (*record).sk_err = change.sk_err;
        (*record).sk_flags = head.sock_flags() as u8 & (sk_flags::DEAD | sk_flags::DONE);
        (*record).mini_flags = change.mini.flags;
        (*record).mini_expires_ms = change.mini.expires_ms;
        (*record).netns_cookie = netns_cookie;
        (*record).listener = change.listener;
        if by_current && !is_kernels {
            task::write_current(&raw mut (*record).task);
        } else if let Some(connector) = connector {
            (*record).task = *connector;
        } else {
            task::write_no_task(&raw mut (*record).task);
        }
    }
    entry.submit(output::NO_WAKEUP);
    counters::count(Counter::Written);
    Ok(())
}

/// Two transitions of three are of IPv4 and outside process context: their record is
/// half as long, which is half the memory to write, to read and to run out of.
#[inline(always)]
fn write_short(head: &Typed, change: &Transition) -> Result<(), Skip> {
    let Some(mut entry) = EVENTS.reserve::<ShortStateRecord>(0) else {
        return Err(Skip::Full);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: reserved memory of this type; every field is written.
    unsafe {
        output::write_header(&raw mut (*record).header, Kind::ShortState);
        (*record).cookie = change.cookie;
        (*record).listener = change.listener;
        (*record).local_addr = head.v4_local_addr();
        (*record).peer_addr = head.v4_peer_addr();
        (*record).local_port = change.port;
        (*record).peer_port = head.peer_port();
        (*record).netns = change.netns;
        (*record).old = change.old;
        (*record).new = change.new;
        (*record).flags = head.socket_flags();
        (*record).mini = change.mini.verdict;
        (*record).sk_err = change.sk_err;
        (*record).mini_state = change.mini.state;
        (*record).mini_flags = change.mini.flags;
        (*record).mini_expires_ms = change.mini.expires_ms;
        (*record).bound_dev_if = head.bound_dev_if();
    }
    entry.submit(output::NO_WAKEUP);
    counters::count(Counter::Written);
    Ok(())
}

/// Transitions that only a system call of the socket's owner makes. All others
/// can run in a softirq, on top of whatever task it interrupted.
#[inline(always)]
fn is_process_context(old: u8, new: u8, sk_err: u16, head: &Typed) -> bool {
    match new {
        // listen, connect; close and shutdown (`tcp_close_state`).
        state::LISTEN | state::SYN_SENT | state::FIN_WAIT1 | state::LAST_ACK => true,
        state::CLOSE => match old {
            state::LISTEN => true,
            // No error and still open: the owner aborts (`SO_LINGER` 0, close
            // with unread data).
            state::ESTABLISHED | state::SYN_SENT | state::CLOSE_WAIT => {
                sk_err == 0 && head.sock_flags() & u64::from(sk_flags::DEAD) == 0
            }
            _ => false,
        },
        _ => false,
    }
}

/// The socket's cookie, made now if it has none: a TIME_WAIT keeps the cookie
/// only of a socket that had one.
#[inline(always)]
fn cookie(sk: Addr, head: &Typed) -> u64 {
    let cookie = head.cookie();
    if cookie == 0 && is_set(flags::HAS_COOKIE_HELPER) {
        // SAFETY: the tracepoint's own socket argument.
        return unsafe { bpf_get_socket_cookie(sk as *mut _) };
    }
    cookie
}

/// Cookie of the listener that a new connection came from.
#[inline(always)]
fn origin(sk: Addr) -> u64 {
    if !is_set(flags::HAS_SK_STORAGE) {
        return 0;
    }
    // SAFETY: the tracepoint's own socket argument; no value is created.
    let value =
        unsafe { bpf_sk_storage_get(ORIGIN.as_ptr(), sk as *mut _, core::ptr::null_mut(), 0) }
            .cast::<u64>();
    if value.is_null() {
        return 0;
    }
    // SAFETY: a value of this map, checked for NULL.
    unsafe { *value }
}

/// Lets the children of a listener inherit its cookie, and notes who listens.
#[inline(always)]
fn remember_listener(sk: Addr, cookie: u64, netns: u32, port: u16) {
    if is_set(flags::HAS_SK_STORAGE) {
        let mut value = cookie;
        // SAFETY: the tracepoint's own socket argument; the value is copied.
        unsafe {
            bpf_sk_storage_get(
                ORIGIN.as_ptr(),
                sk as *mut _,
                (&raw mut value).cast(),
                u64::from(BPF_SK_STORAGE_GET_F_CREATE),
            )
        };
    }
    let key = ListenerKey {
        tgid: task::tgid(),
        netns,
        port: u32::from(port),
    };
    // A full map evicts its least recently used entry.
    let _ = LISTENERS.insert(key, cookie, 0);
}
