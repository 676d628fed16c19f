//! What one socket says about its hold on a port.

use tcpstate_common::{
    offsets::MISSING,
    record::{HolderWire, socket_flags, userlocks},
};

use crate::{
    error::Skip,
    globals::offset,
    memory::{Addr, read, read_addr},
    owner,
    sock::{self, Common, SockCommon as _, state},
};

const CONNECT_BIND_BIT: u32 = userlocks::CONNECT_BIND.trailing_zeros();

/// Writes what the socket at `sk` says about its hold on the port to `to`.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write(
    to: *mut HolderWire,
    sk: Addr,
    common: &Common,
    cookie: u64,
    netns: u32,
) -> Result<(), Skip> {
    // SAFETY: the caller vouches for `to`.
    unsafe {
        common.write_to(&raw mut (*to).socket, cookie, netns, common.local_port());
        (*to).inode = 0;
        (*to).expires_ms = 0;
        (*to).uid = 0;
        (*to).userlocks = 0;
        (*to).has_owner_fields = 0;
        (*to).is_tripped_over = 0;
        (*to).reserved = [0; 5];
    }
    match common.state() {
        state::TIME_WAIT => {
            let substate = sock::substate(sk)?;
            let expires_ms = sock::expires_ms(sk)?;
            let is_connect_bound = if offset!(tw_connect_bind.offset) == MISSING {
                0
            } else {
                let byte: u8 = read(sk + u64::from(offset!(tw_connect_bind.offset)))?;
                (byte >> offset!(tw_connect_bind.shift)) & offset!(tw_connect_bind.mask)
            };
            // SAFETY: as above.
            unsafe {
                (*to).socket.state = substate;
                (*to).socket.flags |= socket_flags::MINI;
                (*to).expires_ms = expires_ms;
                (*to).userlocks = is_connect_bound << CONNECT_BIND_BIT;
            }
            Ok(())
        }
        state::NEW_SYN_RECV => Ok(()),
        // SAFETY: as above.
        _ => unsafe { write_owner_fields(to, sk) },
    }
}

/// The part of [`write`] that only a full socket has.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
unsafe fn write_owner_fields(to: *mut HolderWire, sk: Addr) -> Result<(), Skip> {
    if offset!(sk_socket) == MISSING
        || offset!(sk_uid) == MISSING
        || offset!(socket_to_inode) == MISSING
    {
        return Ok(());
    }
    let socket = read_addr(sk + u64::from(offset!(sk_socket)))?;
    let uid: u32 = read(sk + u64::from(offset!(sk_uid)))?;
    let inode: u64 = match socket {
        0 => 0,
        _ => read(socket + u64::from(offset!(socket_to_inode)) + u64::from(offset!(inode_ino)))?,
    };
    let userlocks = if offset!(sk_userlocks.offset) == MISSING {
        0
    } else {
        let byte: u8 = read(sk + u64::from(offset!(sk_userlocks.offset)))?;
        (byte >> offset!(sk_userlocks.shift)) & offset!(sk_userlocks.mask)
    };
    let kernels = if owner::is_kernels(sk) {
        socket_flags::KERNEL
    } else {
        0
    };
    // SAFETY: the caller vouches for `to`.
    unsafe {
        (*to).socket.flags |= kernels;
        (*to).uid = uid;
        (*to).inode = inode;
        (*to).userlocks = userlocks;
        (*to).has_owner_fields = 1;
    }
    Ok(())
}
