//! The limit of memory while a recording is read: one may describe a million
//! sockets, each with texts as long as a line.

use std::fs;

/// Resident memory at which reading ends. A million sockets take a third of it.
pub const MAX_MEMORY: u64 = 4 << 30;
/// Bytes of lines between two checks.
const CHECK_EVERY: usize = 32 << 20;

/// Checks now and then how much memory is used.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    limit: u64,
    unchecked: usize,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self {
            limit: MAX_MEMORY,
            unchecked: 0,
        }
    }
}

impl MemoryLimit {
    /// Whether reading may go on after so many more bytes of lines.
    pub(super) fn allows(&mut self, bytes: usize) -> bool {
        self.unchecked = self.unchecked.saturating_add(bytes);
        if self.unchecked < CHECK_EVERY {
            return true;
        }
        self.unchecked = 0;
        resident() < self.limit
    }
}

/// Resident memory of this process in bytes; 0: it is not known.
#[must_use]
pub fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| {
            let pages = statm.split_whitespace().nth(1)?;
            pages.parse::<u64>().ok()
        });
    pages.map_or(0, |pages| {
        pages.saturating_mul(rustix::param::page_size() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_checked_once_in_a_while_and_reading_ends_when_too_much_is_used() {
        let mut generous = MemoryLimit::default();
        let mut strict = MemoryLimit {
            limit: 1,
            unchecked: 0,
        };
        assert!(resident() > 1 << 20);

        let before = [&mut generous, &mut strict].map(|watch| watch.allows(CHECK_EVERY - 1));
        let after = [&mut generous, &mut strict].map(|watch| watch.allows(1));

        assert_eq!((before, after), ([true, true], [true, false]));
        assert!(strict.allows(1), "until the next check");
    }
}
