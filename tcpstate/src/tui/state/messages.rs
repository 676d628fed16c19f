//! Messages to the user: the scenario of a demo, warnings of the program.
//!
//! The latest has lines of its own; all stand in the event list at their time, and
//! can be read whole.

use std::collections::VecDeque;

/// Messages that are kept.
const MAX_MESSAGES: usize = 200;

/// A message to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// The position that the next event had.
    pub(crate) seq: u64,
    /// When, on the monotonic clock.
    pub(crate) mono_ns: u64,
    /// What it says.
    pub(crate) text: String,
}

/// All messages, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    stamped: VecDeque<Message>,
    /// Those that came since the last frame.
    pending: VecDeque<String>,
    next: u64,
    is_dismissed: bool,
}

impl Messages {
    /// Adds a message; it gets its position and time with the next frame.
    pub(crate) fn push(&mut self, text: String) {
        if self.pending.len() == MAX_MESSAGES {
            self.pending.pop_front();
        }
        self.pending.push_back(text);
        self.is_dismissed = false;
    }

    /// Gives the messages since the last frame their position and time.
    pub(crate) fn stamp(&mut self, seq: u64, mono_ns: u64) {
        for text in self.pending.drain(..) {
            if self.stamped.len() == MAX_MESSAGES {
                self.stamped.pop_front();
            }
            self.stamped.push_back(Message {
                number: self.next,
                seq,
                mono_ns,
                text,
            });
            self.next += 1;
        }
    }

    /// The latest, unless it was dismissed.
    pub(crate) fn latest(&self) -> Option<&Message> {
        self.stamped.back().filter(|_| !self.is_dismissed)
    }

    /// Dismisses the latest. `false`: there was none.
    pub(crate) fn dismiss(&mut self) -> bool {
        let was_shown = self.latest().is_some();
        self.is_dismissed = true;
        was_shown
    }

    /// The message with this number, if it is still kept.
    pub(crate) fn get(&self, number: u64) -> Option<&Message> {
        let first = self.stamped.front()?.number;
        self.stamped
            .get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// All that are kept, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.stamped.iter()
    }
}
