//! What was said to the person: the story of a demo, warnings of the program.
//!
//! The latest has lines of its own; all stand in the event stream where they
//! were said, and can be read whole.

use std::collections::VecDeque;

/// Notes that are kept.
const MAX_NOTES: usize = 200;

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// The position that the next event had.
    pub(crate) seq: u64,
    /// When, on the monotonic clock.
    pub(crate) mono_ns: u64,
    /// What.
    pub(crate) text: String,
}

/// Everything that was said, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    kept: VecDeque<Note>,
    said: VecDeque<String>,
    next: u64,
    is_put_away: bool,
}

impl Notes {
    /// Says something; it gets its place and time with the next frame.
    pub(crate) fn say(&mut self, text: String) {
        if self.said.len() == MAX_NOTES {
            self.said.pop_front();
        }
        self.said.push_back(text);
        self.is_put_away = false;
    }

    /// Gives what was said since the last frame its place.
    pub(crate) fn place(&mut self, seq: u64, mono_ns: u64) {
        for text in self.said.drain(..) {
            if self.kept.len() == MAX_NOTES {
                self.kept.pop_front();
            }
            self.kept.push_back(Note {
                number: self.next,
                seq,
                mono_ns,
                text,
            });
            self.next += 1;
        }
    }

    /// The latest, unless it was put away.
    pub(crate) fn latest(&self) -> Option<&Note> {
        self.kept.back().filter(|_| !self.is_put_away)
    }

    /// Puts the latest away. `false`: there was none.
    pub(crate) fn put_away(&mut self) -> bool {
        let was_shown = self.latest().is_some();
        self.is_put_away = true;
        was_shown
    }

    /// The note with this number, if it is still kept.
    pub(crate) fn get(&self, number: u64) -> Option<&Note> {
        let first = self.kept.front()?.number;
        self.kept
            .get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// All that are kept, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Note> {
        self.kept.iter()
    }
}
