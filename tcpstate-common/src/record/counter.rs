//! The kernel program's counters.

/// Index of a counter in the kernel program's per-CPU counter array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Records that found no room in the ring buffer.
    Dropped = 0,
    /// Records written.
    Written = 1,
    /// Calls whose entry could not be stored (map full).
    CallsForgotten = 2,
    /// Reads of kernel memory that failed.
    ReadFailed = 3,
    /// Failed calls that a hook did not report, and the one that runs after it did.
    MadeUpFor = 4,
    /// Failed calls that were counted and not reported.
    Counted = 5,
    /// Of the records written, those of failed calls.
    WrittenFailed = 6,
}

/// Number of [`Counter`]s.
pub const COUNTERS: u32 = 7;
