//! A socket has just gone from FIN_WAIT_2 or CLOSING to CLOSE: did the kernel
//! put a mini-socket (TIME_WAIT, or an orphan's FIN_WAIT_2) in its place?
//!
//! If it did, that one is in the bind bucket before the tracepoint runs, and
//! at the head of its list (`inet_twsk_hashdance`).

use core::mem::MaybeUninit;

use tcpstate_common::{
    config::flags,
    offsets::MISSING,
    record::{AF_INET6, mini, sk_flags, socket_flags},
};

use crate::{
    bucket::{self, Bucket},
    error::Stop,
    globals::{is_set, offset},
    memory::{Addr, read_addr},
    probes::function::time_wait,
    sock::{self, Common, Head as _, state},
};

/// Local addresses of one port that are looked at (second-level buckets).
const MAX_ADDRESSES: u32 = 16;
/// Sockets of one list that are looked at. A fresh mini-socket is the first;
/// only those that other CPUs made in the same instant can be before it. This
/// keeps a port with 30,000 TIME_WAITs as fast as one with a single one.
const MAX_OWNERS: u32 = 16;

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
    /// Nobody looked.
    pub(crate) const NOT_SOUGHT: Self = Self {
        verdict: mini::NOT_SOUGHT,
        state: 0,
        flags: 0,
        expires_ms: 0,
    };
    const NONE: Self = Self {
        verdict: mini::NONE,
        ..Self::NOT_SOUGHT
    };
}

/// How a walk ended that found nothing by itself.
enum Walk {
    Found(Addr),
    NotThere,
    GaveUp,
}

/// Looks for the mini-socket of the socket at `sk`.
#[inline(always)]
pub(crate) fn seek(sk: Addr, port: u16, old: u8, sk_err: u16) -> Result<Mini, Stop> {
    let mut common = Common::empty();
    let mut candidate = Common::empty();
    common.fill(sk)?;
    let found = if is_set(flags::HAS_HOOKED_MINIS) {
        hooked(sk, &common, &mut candidate)
    } else {
        walk(&common, port, &mut candidate)
    };
    Ok(match found {
        Ok(Walk::Found(tw)) => Mini {
            verdict: mini::FOUND,
            state: sock::substate(tw).unwrap_or(state::TIME_WAIT),
            flags: candidate.socket_flags() | socket_flags::MINI,
            expires_ms: sock::expires_ms(tw).unwrap_or(0).max(0) as u32,
        },
        Ok(Walk::NotThere) => Mini::NONE,
        Ok(Walk::GaveUp) | Err(_) => infer(&common, old, sk_err),
    })
}

/// The one that a function hook saw being made.
#[inline(always)]
fn hooked(sk: Addr, common: &Common, candidate: &mut Common) -> Result<Walk, Stop> {
    let tw = time_wait::born_of(sk);
    if tw == 0 {
        return Ok(Walk::NotThere);
    }
    candidate.fill(tw)?;
    Ok(if is_of(candidate, common) {
        Walk::Found(tw)
    } else {
        Walk::NotThere
    })
}

/// Whether `candidate` is the mini-socket of the connection of `common`.
#[inline(always)]
fn is_of(candidate: &Common, common: &Common) -> bool {
    candidate.state() == state::TIME_WAIT
        && candidate.peer_port() == common.peer_port()
        && candidate.family() == common.family()
        && candidate.peer_addr() == common.peer_addr()
}

/// What the socket's own fields say where the walk could not.
#[inline(always)]
fn infer(common: &Common, old: u8, sk_err: u16) -> Mini {
    let flags = common.sock_flags();
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
        flags: common.socket_flags() | socket_flags::MINI,
        expires_ms: 0,
    }
}

#[inline(always)]
fn walk(common: &Common, port: u16, candidate: &mut Common) -> Result<Walk, Stop> {
    if offset!(net_death_row) == MISSING || offset!(tb_node) == MISSING {
        return Ok(Walk::GaveUp);
    }
    let bucket = match bucket::find(common.net(), port, false)? {
        Bucket::At(bucket) => bucket,
        Bucket::None => return Ok(Walk::NotThere),
        Bucket::Unknown => return Ok(Walk::GaveUp),
    };
    let mut node = bucket::first_node(bucket)?;
    if bucket::has_second_level() {
        let Some(owners) = owners_of_address(node, mapped(common))? else {
            return Ok(Walk::GaveUp);
        };
        node = owners;
    }
    let peer_port = common.peer_port();
    let peer_addr = common.peer_addr();
    for _ in 0..MAX_OWNERS {
        if node == 0 {
            return Ok(Walk::NotThere);
        }
        let owner = bucket::owner(node);
        candidate.fill(owner)?;
        if candidate.state() == state::TIME_WAIT
            && candidate.peer_port() == peer_port
            && candidate.family() == common.family()
            && candidate.peer_addr() == peer_addr
        {
            return Ok(Walk::Found(owner));
        }
        node = read_addr(node)?;
    }
    Ok(Walk::GaveUp)
}

/// First socket of the second-level bucket of this local address; 0: there is
/// no such bucket; none: the list is longer than we follow.
#[inline(always)]
fn owners_of_address(mut node: Addr, addr: [u64; 2]) -> Result<Option<Addr>, Stop> {
    for _ in 0..MAX_ADDRESSES {
        if node == 0 {
            return Ok(Some(0));
        }
        let bucket = bucket::second_level(node);
        if bucket::second_level_addr(bucket)? == addr {
            return Ok(Some(bucket::second_level_owners(bucket)?));
        }
        node = read_addr(node)?;
    }
    Ok(None)
}

/// The local address as second-level buckets have it.
#[inline(always)]
fn mapped(common: &Common) -> [u64; 2] {
    let addr = common.local_addr();
    if common.family() == AF_INET6 {
        return addr;
    }
    let v4 = addr[0].to_ne_bytes();
    let mut low = MaybeUninit::<[u8; 8]>::zeroed();
    // SAFETY: zeroed bytes are a byte array.
    let bytes = unsafe { low.assume_init_mut() };
    bytes[2] = 0xff;
    bytes[3] = 0xff;
    bytes[4] = v4[0];
    bytes[5] = v4[1];
    bytes[6] = v4[2];
    bytes[7] = v4[3];
    [0, u64::from_ne_bytes(*bytes)]
}
