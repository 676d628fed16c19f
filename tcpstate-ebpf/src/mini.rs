//! A socket has just gone from FIN_WAIT_2 or CLOSING to CLOSE: did the kernel
//! put a mini-socket (TIME_WAIT, or an orphan's FIN_WAIT_2) in its place?
//!
//! If it did, that one has taken the socket's place in the table of connections
//! (`ehash`) before the tracepoint runs (`inet_twsk_hashdance`). The table has
//! about as many chains as connections, so that a search is a step or two
//! however many TIME_WAITs the port has.

use tcpstate_common::{
    config::flags,
    offsets::MISSING,
    record::{mini, sk_flags, socket_flags},
};

use crate::{
    error::Skip,
    globals::{is_set, offset},
    maps::TW_BY_SOCK,
    memory::{Addr, Typed, read_addr},
    sock::{self, Common, SockCommon, state},
};

/// Sockets of one chain that are visited. A fresh mini-socket is the first;
/// only those that other CPUs put there in the same instant can be before it.
const MAX_CHAIN: u32 = 8;

/// What the search found; the fields of a `StateRecord`.
pub(crate) struct Mini {
    /// `tcpstate_common::record::mini`.
    pub(crate) verdict: u8,
    /// 5 or 6.
    pub(crate) state: u8,
    /// `tcpstate_common::record::socket_flags`.
    pub(crate) flags: u8,
    /// Milliseconds until its timer ends.
    pub(crate) expires_ms: u32,
}

impl Mini {
    /// Not searched for.
    pub(crate) const NOT_SEARCHED: Self = Self {
        verdict: mini::NOT_SEARCHED,
        state: 0,
        flags: 0,
        expires_ms: 0,
    };
    const NONE: Self = Self {
        verdict: mini::NONE,
        ..Self::NOT_SEARCHED
    };
}

/// How a walk ended that found nothing by itself.
enum Walk {
    Found(Addr),
    NotThere,
    GaveUp,
}

/// Searches the mini-socket of the socket with `head`, whose local port was `port`
/// and whose namespace is `net`.
#[inline(always)]
pub(crate) fn find(head: &Typed, net: Typed, port: u16, old: u8, sk_err: u16) -> Mini {
    let mut candidate = Common::empty();
    let found = if is_set(flags::HAS_HOOKED_MINIS) {
        hooked(head, &mut candidate)
    } else {
        walk(head, net, port, &mut candidate)
    };
    match found {
        Ok(Walk::Found(tw)) => Mini {
            verdict: mini::FOUND,
            state: sock::substate(tw).unwrap_or(state::TIME_WAIT),
            flags: candidate.socket_flags() | socket_flags::MINI,
            expires_ms: sock::expires_ms(tw).unwrap_or(0).max(0) as u32,
        },
        Ok(Walk::NotThere) => Mini::NONE,
        Ok(Walk::GaveUp) | Err(_) => infer(head, old, sk_err),
    }
}

/// The one that a function hook saw being made.
#[inline(always)]
fn hooked(head: &Typed, candidate: &mut Common) -> Result<Walk, Skip> {
    let tw = take_tw_of(head.addr());
    if tw == 0 {
        return Ok(Walk::NotThere);
    }
    candidate.fill(tw)?;
    Ok(if is_of(candidate, head) {
        Walk::Found(tw)
    } else {
        Walk::NotThere
    })
}

/// The mini-socket that was just made for the socket at `sk`; 0: none was.
#[inline(always)]
fn take_tw_of(sk: Addr) -> Addr {
    let Some(entry) = TW_BY_SOCK.get_ptr(sk) else {
        return 0;
    };
    // SAFETY: a value of this map.
    let tw = unsafe { *entry };
    let _ = TW_BY_SOCK.remove(sk);
    tw
}

/// Whether `candidate` is a mini-socket with the peer of the socket with `head`.
#[inline(always)]
fn is_of(candidate: &Common, head: &Typed) -> bool {
    candidate.state() == state::TIME_WAIT
        && candidate.peer_port() == head.peer_port()
        && candidate.family() == head.family()
        && candidate.peer_addr() == head.peer_addr()
}

/// What the socket's own fields say where the walk could not.
#[inline(always)]
fn infer(head: &Typed, old: u8, sk_err: u16) -> Mini {
    let flags = head.sock_flags();
    let is_done = flags & u64::from(sk_flags::DONE) != 0;
    let is_dead = flags & u64::from(sk_flags::DEAD) != 0;
    let state = if sk_err != 0 {
        return Mini::NONE;
    } else if is_done || old == state::CLOSING {
        state::TIME_WAIT
    } else if is_dead {
        state::FIN_WAIT2
    } else {
        return Mini::NONE;
    };
    Mini {
        verdict: mini::INFERRED,
        state,
        flags: head.socket_flags() | socket_flags::MINI,
        expires_ms: 0,
    }
}

#[inline(always)]
fn walk(head: &Typed, net: Typed, port: u16, candidate: &mut Common) -> Result<Walk, Skip> {
    if offset!(net_death_row) == MISSING
        || offset!(death_row_hashinfo) == MISSING
        || offset!(hashinfo_ehash) == MISSING
        || offset!(hashinfo_ehash_mask) == MISSING
        || offset!(ehash_bucket_size) == MISSING
        || offset!(skc_hash) == MISSING
        || offset!(skc_nulls_node) == MISSING
    {
        return Ok(Walk::GaveUp);
    }
    let hashinfo = if offset!(net_death_row_is_pointer) == 1 {
        let death_row = net.follow(offset!(net_death_row));
        death_row.follow(offset!(death_row_hashinfo))
    } else {
        net.follow(offset!(net_death_row) + offset!(death_row_hashinfo))
    };
    // Not loaded directly: an index into what it points to needs a plain number.
    let table = read_addr(hashinfo.addr() + u64::from(offset!(hashinfo_ehash)))?;
    let hash: u32 = head.field(offset!(skc_hash));
    let slot = u64::from(hash & hashinfo.load::<u32>(offset!(hashinfo_ehash_mask)));
    let mut node = read_addr(table + slot * u64::from(offset!(ehash_bucket_size)))?;
    for _ in 0..MAX_CHAIN {
        if is_end(node) {
            // A socket that moves to another chain takes the walk along; the end
            // of a chain says which one it is.
            return Ok(if node >> 1 == slot {
                Walk::NotThere
            } else {
                Walk::GaveUp
            });
        }
        let connection = node.wrapping_sub(u64::from(offset!(skc_nulls_node)));
        candidate.fill(connection)?;
        if is_of(candidate, head)
            && candidate.local_port() == port
            && candidate.local_addr() == head.local_addr()
            && candidate.net() == net.addr()
        {
            return Ok(Walk::Found(connection));
        }
        node = read_addr(node)?;
    }
    Ok(Walk::GaveUp)
}

/// Whether a list that ends in a number instead of in NULL ends here.
#[inline(always)]
fn is_end(node: Addr) -> bool {
    node & 1 == 1
}
