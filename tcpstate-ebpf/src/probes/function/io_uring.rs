//! Which of a thread's calls come through `io_uring`: those between the entry
//! and the return of the function that carries the request out.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::maps::IO_URING;

/// A pair of hooks around a function.
macro_rules! around {
    ($function:literal, $entry:ident, $exit:ident) => {
        #[fentry(function = $function)]
        pub(crate) fn $entry(_ctx: FEntryContext) -> i32 {
            // A full map evicts its least recently used entry.
            let _ = IO_URING.insert(bpf_get_current_pid_tgid(), 1, 0);
            0
        }

        #[fexit(function = $function)]
        pub(crate) fn $exit(_ctx: FExitContext) -> i32 {
            let _ = IO_URING.remove(bpf_get_current_pid_tgid());
            0
        }
    };
}

around!("io_bind", io_bind_entry, io_bind_exit);
around!("io_listen", io_listen_entry, io_listen_exit);
around!("io_connect", io_connect_entry, io_connect_exit);
around!("io_accept", io_accept_entry, io_accept_exit);

/// Whether the current thread is inside such a function.
#[inline(always)]
pub(super) fn is_inside() -> bool {
    IO_URING.get_ptr(bpf_get_current_pid_tgid()).is_some()
}
