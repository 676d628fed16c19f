//! What was written, and what was not and why: one counter each, per CPU.

use tcpstate_common::record::Counter;

use crate::{error::Skip, maps::COUNTERS};

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's slot; an interrupt in between can lose one count.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}

/// Counts why a probe gave up; the last thing that every entry function does.
#[inline(always)]
pub(crate) fn finish(result: Result<(), Skip>) {
    if let Err(skip) = result
        && let Some(counter) = skip.counter()
    {
        count(counter);
    }
}
