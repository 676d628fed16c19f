//! Facts for tests, made by hand: a clock that only goes forward and
//! connections between made-up endpoints.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;

use tcpstate_core::event::{
    Body, Call, Endpoint, Family, KnownBy, Mini, Process, Requested, Reuse, Sock, SocketSeen,
    Source, State, StateChange,
};

pub(crate) const NETNS: u32 = 4_026_531_840;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

pub(crate) fn sock(cookie: u64) -> Sock {
    Sock {
        cookie,
        netns: NETNS,
        family: Family::Ipv4,
    }
}

pub(crate) fn at(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("test addresses are valid");
    Endpoint {
        addr: address.ip(),
        port: address.port(),
    }
}

pub(crate) fn process(pid: u32, comm: &str) -> Arc<Process> {
    Arc::new(Process::new(pid, 1000, comm, KnownBy::Syscall))
}

pub(crate) fn raw(state: State) -> u8 {
    State::ALL
        .iter()
        .position(|other| *other == state)
        .map_or(0, |at| u8::try_from(at + 1).unwrap_or(0))
}

pub(crate) fn change(cookie: u64, local: &str, peer: &str, old: State, new: State) -> StateChange {
    StateChange {
        sock: sock(cookie),
        local: at(local),
        peer: at(peer),
        old,
        new,
        old_raw: raw(old),
        new_raw: raw(new),
        process: None,
        reuse: Reuse::default(),
        error: None,
        listener: None,
        netns_cookie: None,
        mini: None,
    }
}

pub(crate) fn by(mut change: StateChange, process: &Arc<Process>) -> Body {
    change.process = Some(Arc::clone(process));
    Body::State(change)
}

pub(crate) fn through(mut change: StateChange, listener: u64) -> Body {
    change.listener = Some(listener);
    Body::State(change)
}

pub(crate) fn into_mini(
    mut change: StateChange,
    state: State,
    expires_ms: u64,
    reuseaddr: bool,
) -> Body {
    change.mini = Some(Mini {
        state,
        expires_ms: Some(expires_ms),
        reuse: Reuse {
            reuseaddr,
            ..Reuse::default()
        },
        source: Source::Kernel,
    });
    Body::State(change)
}

pub(crate) fn seen(
    cookie: u64,
    local: &str,
    peer: &str,
    state: State,
    expires_ms: Option<u64>,
) -> SocketSeen {
    SocketSeen {
        sock: sock(cookie),
        local: at(local),
        peer: at(peer),
        state,
        process: None,
        reuse: None,
        expires_ms,
        processes: None,
        netns_ended: None,
        ended: None,
        source: Source::Snapshot,
    }
}

pub(crate) fn call(
    cookie: u64,
    local: Option<&str>,
    port: u16,
    errno: Option<(u32, &str)>,
    process: &Arc<Process>,
) -> Box<Call> {
    Box::new(Call {
        ok: errno.is_none(),
        errno: errno.map(|(number, _)| number),
        errno_name: errno.map(|(_, name)| name.into()),
        local: local.map(at),
        sock: Some(sock(cookie)),
        unprivileged_port_start: Some(1024),
        ..Call::new(
            Requested {
                addr: Some(at("0.0.0.0:0").addr),
                port,
            },
            Arc::clone(process),
        )
    })
}
