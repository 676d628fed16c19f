//! Who connects, where a hook is given no cookie of a socket (before Linux 5.12):
//! at SYN_SENT, which the caller brings about, a socket whose port is chosen for
//! it has no name yet; when it has one, whoever happens to run brings it about.

use core::mem::MaybeUninit;

use tcpstate_common::{config::flags, record::TaskWire};

use crate::{globals::is_set, maps::CONNECTING, memory::Addr, owner, sock::state, task};

/// Notes that the current task connects the socket at `sk`.
#[inline(always)]
pub(super) fn note(sk: Addr) {
    if is_set(flags::HAS_COOKIE_HELPER) || owner::is_kernels(sk) {
        return;
    }
    let mut task = MaybeUninit::<TaskWire>::uninit();
    // SAFETY: every field is written.
    unsafe {
        task::write_current(task.as_mut_ptr());
        // A full map evicts its least recently used entry.
        let _ = CONNECTING.insert(sk, task.assume_init_ref(), 0);
    }
}

/// Who connected the socket at `sk`, which leaves SYN_SENT for `new`.
#[inline(always)]
pub(super) fn take(sk: Addr, new: u8) -> Option<TaskWire> {
    if is_set(flags::HAS_COOKIE_HELPER) {
        return None;
    }
    let noted = CONNECTING.get_ptr(sk)?;
    // SAFETY: a value of this map.
    let task = unsafe { *noted };
    let _ = CONNECTING.remove(sk);
    (new != state::CLOSE).then_some(task)
}
