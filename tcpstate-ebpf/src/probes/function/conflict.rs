//! The very socket that a failing `bind` or `listen` conflicts with: the last one
//! that the kernel's own comparison calls a conflict. Both functions run with
//! the bucket locked.
//!
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_connection_sock.c#L164-L282>

use aya_ebpf::{EbpfContext, macros::fexit, programs::FExitContext};

use crate::{conflicts, counters::finish, error::Skip, globals::offset, memory::untyped_arg};

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
    conflicts::note(untyped_arg(ctx.as_ptr(), 0)?, untyped_arg(ctx.as_ptr(), 1)?);
    Ok(())
}

#[inline(always)]
fn try_addresses(ctx: &FExitContext) -> Result<(), Skip> {
    let sk = untyped_arg(ctx.as_ptr(), 0)?;
    let other = untyped_arg(ctx.as_ptr(), 1)?;
    let result = untyped_arg(ctx.as_ptr(), u64::from(offset!(saddr_equal_args)))?;
    if result as u8 & 1 == 1 {
        conflicts::note(sk, other);
    } else {
        conflicts::withdraw(sk, other);
    }
    Ok(())
}
