//! How much a recording may make this program remember: it may tell of a million
//! sockets, each with texts as long as a line.

use std::fs;

/// Resident memory at which reading ends. A million sockets take a third of it.
pub const MAX_MEMORY: u64 = 4 << 30;
/// Bytes of lines between two looks.
const LOOK_EVERY: usize = 32 << 20;

/// Looks now and then how much memory is used.
#[derive(Debug)]
pub(super) struct Watch {
    limit: u64,
    unlooked: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            limit: MAX_MEMORY,
            unlooked: 0,
        }
    }
}

impl Watch {
    /// Whether reading may go on after so many more bytes of lines.
    pub(super) fn allows(&mut self, bytes: usize) -> bool {
        self.unlooked = self.unlooked.saturating_add(bytes);
        if self.unlooked < LOOK_EVERY {
            return true;
        }
        self.unlooked = 0;
        resident() < self.limit
    }
}

/// Resident memory of this process in bytes; 0: it cannot be told.
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
    fn it_looks_once_in_a_while_and_ends_what_takes_too_much() {
        let mut generous = Watch::default();
        let mut strict = Watch {
            limit: 1,
            unlooked: 0,
        };
        assert!(resident() > 1 << 20);

        let before = [&mut generous, &mut strict].map(|watch| watch.allows(LOOK_EVERY - 1));
        let after = [&mut generous, &mut strict].map(|watch| watch.allows(1));

        assert_eq!((before, after), ([true, true], [true, false]));
        assert!(strict.allows(1), "until the next look");
    }
}
