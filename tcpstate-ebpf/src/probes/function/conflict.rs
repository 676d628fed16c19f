//! The very socket that a failing `bind` or `listen` trips over: the last one
//! that the kernel's own comparison calls a conflict. Both functions run with
//! the bucket locked.
//!
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L164-L282>

use aya_ebpf::{EbpfContext, macros::fexit, programs::FExitContext};

use crate::{
    error::{Skip, finish},
    globals::{is_set, offset},
    maps::TRIPPED,
    memory::{Addr, untyped_arg},
};
use tcpstate_common::config::flags;

/// `bool inet_bind_conflict(sk, sk2, …)` (Linux 6.1): the options of the two do
/// not go together.
#[fexit(function = "inet_bind_conflict")]
pub(crate) fn inet_bind_conflict(ctx: FExitContext) -> i32 {
    finish(try_conflict(&ctx));
    0
}

/// `bool inet_rcv_saddr_equal(sk, sk2, …)`: asked of a pair whose options do not
/// go together, where the addresses decide.
#[fexit(function = "inet_rcv_saddr_equal")]
pub(crate) fn inet_rcv_saddr_equal(ctx: FExitContext) -> i32 {
    finish(try_addresses(&ctx));
    0
}

#[inline(always)]
fn try_conflict(ctx: &FExitContext) -> Result<(), Skip> {
    let result = untyped_arg(ctx.as_ptr(), u64::from(offset!(bind_conflict_args)))?;
    if result as u8 & 1 == 0 {
        return Err(Skip::NotWanted);
    }
    note(untyped_arg(ctx.as_ptr(), 0)?, untyped_arg(ctx.as_ptr(), 1)?);
    Ok(())
}

#[inline(always)]
fn try_addresses(ctx: &FExitContext) -> Result<(), Skip> {
    let sk = untyped_arg(ctx.as_ptr(), 0)?;
    let other = untyped_arg(ctx.as_ptr(), 1)?;
    let result = untyped_arg(ctx.as_ptr(), u64::from(offset!(saddr_equal_args)))?;
    if result as u8 & 1 == 1 {
        note(sk, other);
    } else if let Some(noted) = TRIPPED.get_ptr(sk)
        // SAFETY: a value of this map.
        && unsafe { *noted } == other
    {
        let _ = TRIPPED.remove(sk);
    }
    Ok(())
}

#[inline(always)]
fn note(sk: Addr, other: Addr) {
    // A full map forgets its least recently used entry.
    let _ = TRIPPED.insert(sk, other, 0);
}

/// The socket that the call on `sk` has tripped over; 0: not known.
#[inline(always)]
pub(crate) fn tripped_over(sk: Addr) -> Addr {
    if !is_set(flags::HAS_FUNCTION_HOOKS) {
        return 0;
    }
    let Some(noted) = TRIPPED.get_ptr(sk) else {
        return 0;
    };
    // SAFETY: a value of this map.
    let other = unsafe { *noted };
    let _ = TRIPPED.remove(sk);
    other
}
