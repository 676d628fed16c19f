//! The socket that a failing `bind` or `listen` conflicts with: noted by the hooks on
//! the kernel's own comparison, taken by the report of the call.

use tcpstate_common::config::flags;

use crate::{globals::is_set, maps::CONFLICTS, memory::Addr};

#[inline(always)]
pub(crate) fn note(sk: Addr, other: Addr) {
    // A full map evicts its least recently used entry.
    let _ = CONFLICTS.insert(sk, other, 0);
}

/// The socket that the call on `sk` has found in its way; 0: not known.
#[inline(always)]
pub(crate) fn take(sk: Addr) -> Addr {
    if !is_set(flags::HAS_FUNCTION_HOOKS) {
        return 0;
    }
    let Some(noted) = CONFLICTS.get_ptr(sk) else {
        return 0;
    };
    // SAFETY: a value of this map.
    let other = unsafe { *noted };
    let _ = CONFLICTS.remove(sk);
    other
}

/// Forgets `other` where it is what the call on `sk` was last compared with.
#[inline(always)]
pub(crate) fn withdraw(sk: Addr, other: Addr) {
    if let Some(noted) = CONFLICTS.get_ptr(sk)
        // SAFETY: a value of this map.
        && unsafe { *noted } == other
    {
        let _ = CONFLICTS.remove(sk);
    }
}
