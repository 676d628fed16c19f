//! MPTCP: a socket that programs hold, and the TCP sockets that carry it, whose
//! ports and states are the ones that count.

use tcpstate_common::{
    config::flags,
    offsets::MISSING,
    record::{AF_INET, AF_INET6},
};

use crate::{
    error::Skip,
    globals::{is_set, offset},
    memory::{Addr, read, read_addr},
    sock::{self, Common, IPPROTO_TCP, SockCommon as _},
};

/// `IPPROTO_MPTCP`.
const IPPROTO_MPTCP: u16 = 262;

/// The TCP socket of a call or of a connection.
pub(crate) struct Carrier {
    pub(crate) sk: Addr,
    /// Whether it carries MPTCP.
    pub(crate) is_mptcp: bool,
}

/// The TCP socket of the one that a program holds, or that a function hook
/// has met, with its head in `common`; any other protocol's is not wanted.
#[inline(always)]
pub(crate) fn carrier(sk: Addr, common: &mut Common) -> Result<Carrier, Skip> {
    common.fill(sk)?;
    if !matches!(common.family(), AF_INET | AF_INET6) {
        return Err(Skip::NotWanted);
    }
    match sock::protocol(sk)? {
        IPPROTO_MPTCP => {
            let sk = first_subflow(sk)?;
            common.fill(sk)?;
            Ok(Carrier { sk, is_mptcp: true })
        }
        // A function hook meets the TCP socket that carries it.
        IPPROTO_TCP => Ok(Carrier {
            sk,
            is_mptcp: is_set(flags::HAS_FUNCTION_HOOKS) && is_subflow(sk),
        }),
        _ => Err(Skip::NotWanted),
    }
}

/// Whether the full TCP socket at `sk` carries MPTCP.
#[inline(always)]
pub(crate) fn is_subflow(sk: Addr) -> bool {
    if offset!(tp_is_mptcp.offset) == MISSING {
        return false;
    }
    read::<u8>(sk + u64::from(offset!(tp_is_mptcp.offset)))
        .is_ok_and(|byte| byte & (offset!(tp_is_mptcp.mask) << offset!(tp_is_mptcp.shift)) != 0)
}

/// The TCP socket that carries the MPTCP socket at `msk`: the one that binds,
/// listens, connects and stays in `TIME_WAIT`. The MPTCP socket's own cookie is
/// on no other record, and an accepted one repeats that of its listener.
#[inline(always)]
fn first_subflow(msk: Addr) -> Result<Addr, Skip> {
    if offset!(msk_first) == MISSING {
        return Ok(msk);
    }
    match read_addr(msk + u64::from(offset!(msk_first)))? {
        0 => Ok(msk),
        first => Ok(first),
    }
}
