//! The latest events, in order: what writers and the event stream read.

use std::collections::VecDeque;

use crate::event::Event;

/// The latest events. Sequence numbers are gapless, so a position is found
/// without a search.
#[derive(Clone, Debug)]
pub struct EventLog {
    events: VecDeque<Event>,
    limit: usize,
}

impl EventLog {
    /// An empty log that keeps at most `limit` events.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            events: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.events.len() == self.limit {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The event with this position, if it is still kept.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Event> {
        let first = self.events.front()?.seq;
        self.events
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Kept events from this position on.
    #[must_use]
    pub fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        let first = self.events.front().map_or(0, |event| event.seq);
        let skip = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// All kept events, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// Number of kept events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
