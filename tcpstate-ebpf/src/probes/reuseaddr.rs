//! `SO_REUSEADDR` for all TCP sockets of a control group, before each bind to a port that was
//! asked for: what `run --reuseaddr` falls back to where it may not supervise calls. Linux
//! 6.1 lets `bpf_setsockopt` set it here.

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_setsockopt, macros::cgroup_sock_addr, programs::SockAddrContext};

const ALLOW: i32 = 1;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;
const SOL_SOCKET: i32 = 1;
const SO_REUSEADDR: i32 = 2;

#[cgroup_sock_addr(bind4)]
pub(crate) fn reuseaddr_bind4(ctx: SockAddrContext) -> i32 {
    set(&ctx)
}

#[cgroup_sock_addr(bind6)]
pub(crate) fn reuseaddr_bind6(ctx: SockAddrContext) -> i32 {
    set(&ctx)
}

#[inline(always)]
fn set(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the kernel hands a context that is there for the whole call.
    let (protocol, port) = unsafe { ((*ctx.sock_addr).protocol, (*ctx.sock_addr).user_port) };
    if port != 0 && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP) {
        let mut on: i32 = 1;
        // SAFETY: the context is the kernel's, and the value is four bytes of our stack. If it is
        // not set, the bind goes on as it is.
        let _ = unsafe {
            bpf_setsockopt(
                ctx.sock_addr.cast::<c_void>(),
                SOL_SOCKET,
                SO_REUSEADDR,
                (&raw mut on).cast::<c_void>(),
                4,
            )
        };
    }
    ALLOW
}
