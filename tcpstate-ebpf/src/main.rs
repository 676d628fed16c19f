//! The kernel program of tcpstate: hooks that turn what the kernel does with
//! TCP sockets into the records of `tcpstate-common`.
//!
//! It never changes what it observes. Field offsets come from user space (see
//! `globals`), so one object serves every kernel from 5.10 on.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    unsafe_code,
    reason = "a BPF program is exported symbols, kernel memory and helper calls"
)]
#![expect(
    clippy::inline_always,
    reason = "calls between BPF functions cost stack and lose what the verifier knows"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "helpers return 64-bit registers that hold narrower values"
)]
#![expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "results of system calls and jiffies come as unsigned words"
)]
#![expect(
    clippy::cast_ptr_alignment,
    reason = "addresses lie at multiples of eight bytes in the records"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand the context over by value"
)]

mod atomic;
mod bucket;
mod conflicts;
mod counters;
mod error;
mod filter;
mod flood;
mod globals;
mod holder;
mod in_flight;
mod maps;
mod memory;
mod mini;
mod mptcp;
mod output;
mod owner;
mod probes;
mod scratch;
mod sock;
mod task;
mod walk;

/// The licence that the kernel asks for: some helpers are for GPL programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// On the host this crate is only checked.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
