//! A piece of a longer piece of work, for which events and keys wait.

use crate::clock;

/// The time that there is for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    until_ns: u64,
}

impl Slice {
    pub(super) fn of(longest_ns: u64) -> Self {
        Self {
            until_ns: clock::monotonic_ns().saturating_add(longest_ns),
        }
    }

    pub(super) fn is_over(self) -> bool {
        clock::monotonic_ns() >= self.until_ns
    }
}
