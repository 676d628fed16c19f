//! Whose a full socket is: a user's, or the kernel's own.

use tcpstate_common::offsets::MISSING;

use crate::{
    error::Skip,
    globals::offset,
    memory::{Addr, read, read_addr},
    mptcp,
};

/// `sk_uid` of a full socket.
#[inline(always)]
pub(crate) fn uid(sk: Addr) -> Option<u32> {
    if offset!(sk_uid) == MISSING {
        return None;
    }
    read(sk + u64::from(offset!(sk_uid))).ok()
}

/// Whether the full socket at `sk` is the kernel's own: it has a `struct
/// socket` and that has no file. A subflow of MPTCP has none either; then the
/// MPTCP socket is checked.
#[inline(always)]
pub(crate) fn is_kernels(sk: Addr) -> bool {
    // What cannot be read is taken for anybody's.
    try_is_kernels(sk).unwrap_or(false)
}

#[inline(always)]
fn try_is_kernels(sk: Addr) -> Result<bool, Skip> {
    if offset!(sk_socket) == MISSING || offset!(socket_file) == MISSING {
        return Ok(false);
    }
    if !lacks_file(sk)? {
        return Ok(false);
    }
    if !mptcp::is_subflow(sk) {
        return Ok(true);
    }
    if offset!(icsk_ulp_data) == MISSING || offset!(subflow_conn) == MISSING {
        return Ok(false);
    }
    let subflow = read_addr(sk + u64::from(offset!(icsk_ulp_data)))?;
    if subflow == 0 {
        return Ok(false);
    }
    match read_addr(subflow + u64::from(offset!(subflow_conn)))? {
        0 => Ok(false),
        msk => lacks_file(msk),
    }
}

/// Whether the socket has a `struct socket` without a file. Without a `struct
/// socket` it is an orphan or waits to be accepted.
#[inline(always)]
fn lacks_file(sk: Addr) -> Result<bool, Skip> {
    match read_addr(sk + u64::from(offset!(sk_socket)))? {
        0 => Ok(false),
        socket => Ok(read_addr(socket + u64::from(offset!(socket_file)))? == 0),
    }
}
