//! `iter/tcp`: every listening, connecting, connected and closing socket of a
//! network namespace, mini-sockets included; not the ones that are only bound.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_seq_write};
use tcpstate_common::{
    config::flags,
    record::{Kind, SnapshotRecord},
};

use crate::{
    counters::finish,
    error::Skip,
    filter,
    globals::is_set,
    holder,
    memory::untyped_arg,
    output,
    sock::{self, Common, SockCommon as _},
};

/// `struct bpf_iter__tcp`: kernel ABI.
#[repr(C)]
pub(crate) struct IterContext {
    meta: *const IterMeta,
    sk_common: *mut c_void,
    uid: u32,
}

/// `struct bpf_iter_meta`: kernel ABI.
#[repr(C)]
pub(crate) struct IterMeta {
    pub(crate) seq: *mut c_void,
    session_id: u64,
    seq_num: u64,
}

/// aya-ebpf has no macro for iterators.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn iter_tcp(ctx: *mut IterContext) -> i32 {
    // SAFETY: the kernel's own context.
    finish(unsafe { try_iter_tcp(ctx) });
    0
}

/// # Safety
///
/// `ctx` is the iterator's context.
#[inline(always)]
unsafe fn try_iter_tcp(ctx: *mut IterContext) -> Result<(), Skip> {
    // SAFETY: the caller vouches for `ctx`.
    let typed = unsafe { (*ctx).sk_common };
    if typed.is_null() {
        return Err(Skip::NotWanted);
    }
    let sk = untyped_arg(ctx.cast(), 1)?;
    let mut common = Common::empty();
    common.fill(sk)?;
    if !filter::wants_ports(common.local_port(), common.peer_port()) {
        return Err(Skip::NotWanted);
    }
    let netns = sock::netns_of(common.net())?;
    if !filter::wants_netns(netns) {
        return Err(Skip::NotWanted);
    }
    let mut cookie = common.cookie();
    if cookie == 0 && is_set(flags::HAS_COOKIE_HELPER) {
        // SAFETY: the iterator's own socket.
        cookie = unsafe { bpf_get_socket_cookie(typed) };
    }
    let mut record = MaybeUninit::<SnapshotRecord>::uninit();
    let to = record.as_mut_ptr();
    // SAFETY: every field of the record is written, then the whole of it is
    // copied to the iterator's own file.
    unsafe {
        output::write_header(&raw mut (*to).header, Kind::Snapshot);
        holder::write(&raw mut (*to).holder, sk, &common, cookie, netns)?;
        bpf_seq_write(
            (*(*ctx).meta).seq.cast(),
            to.cast_const().cast(),
            size_of::<SnapshotRecord>() as u32,
        );
    }
    Ok(())
}
