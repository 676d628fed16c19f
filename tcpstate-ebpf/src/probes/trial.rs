//! A function hook that does nothing: whether the kernel takes it shows
//! whether function hooks can be used here. Never left attached.

use aya_ebpf::{macros::fentry, programs::FEntryContext};

#[fentry(function = "tcp_set_state")]
pub(crate) fn trial_fentry(_ctx: FEntryContext) -> i32 {
    0
}
