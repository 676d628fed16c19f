//! What became of a thread's failed call, from the hook that reports it to those that
//! run after it.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use crate::{error::Skip, maps::REPORTED};

/// What [`REPORTED`] says of a call: there is something to wake the reader for.
const WRITTEN: u32 = 1;
/// There is not.
const NOT_WRITTEN: u32 = 2;

/// Notes for the trailing hooks what became of the current thread's failed call: what
/// was counted, or found no room in the ring buffer, need not be tried again.
#[inline(always)]
pub(super) fn note(reported: &Result<(), Skip>) {
    let note = match reported {
        Ok(()) => WRITTEN,
        Err(Skip::Full | Skip::Counted) => NOT_WRITTEN,
        Err(_) => return,
    };
    // A full map evicts its least recently used entry.
    let _ = REPORTED.insert(bpf_get_current_pid_tgid(), note, 0);
}

/// Whether the current thread's call was dealt with.
#[inline(always)]
pub(super) fn is_noted() -> bool {
    REPORTED.get_ptr(bpf_get_current_pid_tgid()).is_some()
}

/// Takes the note of the current thread's call: whether there is something to wake the
/// reader for. `None`: there is no note.
#[inline(always)]
pub(super) fn take() -> Option<bool> {
    let thread = bpf_get_current_pid_tgid();
    let note = REPORTED.get_ptr(thread)?;
    // SAFETY: a value of this map, and nobody else has this thread's key.
    let is_written = unsafe { *note == WRITTEN };
    let _ = REPORTED.remove(thread);
    Some(is_written)
}
