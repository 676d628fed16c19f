//! The prompt in the last line: a filter or a time that is being typed.

use std::ops::Range;

/// Length of what is typed, in bytes; more is not taken.
const MAX_TEXT: usize = 200;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A filter.
    Filter,
    /// A time or an event to go to.
    Time,
    /// `yes`, so that a port is freed.
    Release,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) asked: Asked,
    pub(crate) text: String,
    /// Why it was not accepted; until it is edited.
    pub(crate) error: Option<PromptError>,
}

/// What is wrong with what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PromptError {
    /// What, and what could be there.
    pub(crate) reason: String,
    /// Which bytes of the text; `None`: all of it.
    pub(crate) at: Option<Range<usize>>,
}

impl Prompt {
    /// Asks for a filter; the one in force can be edited.
    pub(crate) fn filter(current: &str) -> Self {
        Self::new(Asked::Filter, current.to_owned())
    }

    /// Asks for a time.
    pub(crate) fn time() -> Self {
        Self::new(Asked::Time, String::new())
    }

    /// Asks for `yes`.
    pub(crate) fn release() -> Self {
        Self::new(Asked::Release, String::new())
    }

    fn new(asked: Asked, text: String) -> Self {
        Self {
            asked,
            text,
            error: None,
        }
    }

    pub(crate) fn insert(&mut self, letter: char) {
        self.error = None;
        if self.text.len() < MAX_TEXT && !letter.is_control() {
            self.text.push(letter);
        }
    }

    pub(crate) fn erase(&mut self) {
        self.error = None;
        self.text.pop();
    }

    pub(crate) fn erase_all(&mut self) {
        self.error = None;
        self.text.clear();
    }
}
