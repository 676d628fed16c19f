//! The head that every record begins with, and its way out.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns},
    maps::ring_buf::RingBufEntry,
};
use tcpstate_common::record::{Counter, Kind, RecordHeader};

use crate::{counters, error::Skip};

/// No wakeup: the reader polls often enough by itself, and a wakeup per
/// event would cost the observed program 8 µs each.
pub(crate) const NO_WAKEUP: u64 = aya_ebpf::bindings::BPF_RB_NO_WAKEUP as u64;
/// Wakes the reader: a failed call is rare, and its process may be about to go.
pub(crate) const FORCE_WAKEUP: u64 = aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP as u64;

/// Writes the head of a record.
///
/// # Safety
///
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn write_header(to: *mut RecordHeader, kind: Kind) {
    // SAFETY: the caller vouches for `to`; the helpers take nothing.
    unsafe {
        (*to).kind = kind as u16;
        (*to).reserved = 0;
        (*to).cpu = bpf_get_smp_processor_id();
        (*to).mono_ns = bpf_ktime_get_ns();
    }
}

/// Sends off a record that was filled in, or gives its room back.
#[inline(always)]
pub(crate) fn submit_or_discard<T>(
    entry: RingBufEntry<T>,
    filled: Result<(), Skip>,
) -> Result<(), Skip> {
    match filled {
        Ok(()) => {
            entry.submit(NO_WAKEUP);
            counters::count(Counter::Written);
        }
        Err(_) => entry.discard(NO_WAKEUP),
    }
    filled
}
