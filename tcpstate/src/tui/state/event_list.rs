//! Which events the event list shows: those worth a line that pass the filter. Only
//! new events are looked at.

use std::collections::VecDeque;

use crate::event::{Body, Event, State};
use crate::tui::state::filter::Filter;
use crate::tui::state::list::Items;
use crate::tui::state::messages::{Message, Messages};
use crate::tui::state::view::View;

/// Entries that can be scrolled back to.
pub(crate) const MAX_ENTRIES: usize = 10_000;

/// A line of the event list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An event, by its position.
    Event(u64),
    /// A message, by its number.
    Message(u64),
}

/// The entries of the event list.
#[derive(Debug, Default)]
pub(crate) struct EventList {
    entries: VecDeque<Entry>,
    /// Events and messages before these were taken in.
    next: Next,
    filter: Filter,
    /// Events and messages before these are hidden.
    cleared: Option<Next>,
}

/// The next event and the next message.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    /// Position of the event.
    seq: u64,
    /// Number of the message.
    message: u64,
}

impl EventList {
    /// Takes in the events and messages that came since, or all if the filter has
    /// changed. Messages pass every filter.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter, messages: &Messages) {
        // A replay that went back has nothing that could be hidden.
        self.cleared = self.cleared.filter(|next| next.seq <= view.next_seq);
        if self.filter != *filter || view.next_seq < self.next.seq {
            self.entries.clear();
            self.next = self.cleared.unwrap_or_default();
            self.filter = filter.clone();
        }
        let kept_from = view.log.iter().next().map_or(0, |event| event.seq);
        // A message that came while the screen is frozen comes after what it shows.
        let next_message = self.next.message;
        let mut pending = messages
            .iter()
            .filter(|message| message.number >= next_message)
            .take_while(|message| message.seq <= view.next_seq)
            .peekable();
        for event in view.log.since(self.next.seq) {
            while let Some(message) = pending.next_if(|message| message.seq <= event.seq) {
                self.add_message(message);
            }
            if is_worth_a_line(event) && filter.matches_event(event) {
                self.entries.push_back(Entry::Event(event.seq));
            }
        }
        for message in pending {
            self.add_message(message);
        }
        self.next.seq = view.next_seq;
        while self.entries.front().is_some_and(|line| {
            let is_kept = match line {
                Entry::Event(seq) => *seq >= kept_from,
                Entry::Message(number) => messages
                    .get(*number)
                    .is_some_and(|message| message.seq >= kept_from),
            };
            !is_kept || self.entries.len() > MAX_ENTRIES
        }) {
            self.entries.pop_front();
        }
    }

    /// Hides the entries so far, or shows them again. `true`: they are hidden.
    pub(crate) fn toggle_cleared(&mut self, next_seq: u64, messages: &Messages) -> bool {
        self.cleared = if self.cleared.is_some() {
            None
        } else {
            let last = messages.iter().last();
            Some(Next {
                seq: next_seq,
                message: last.map_or(0, |message| message.number + 1),
            })
        };
        self.entries.clear();
        self.next = self.cleared.unwrap_or_default();
        self.is_cleared()
    }

    /// Whether entries are hidden.
    pub(crate) fn is_cleared(&self) -> bool {
        self.cleared.is_some()
    }

    fn add_message(&mut self, message: &Message) {
        self.entries.push_back(Entry::Message(message.number));
        self.next.message = message.number + 1;
    }

    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }
}

impl Items for EventList {
    type Key = Entry;

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn key(&self, at: usize) -> Entry {
        self.entries[at]
    }
}

/// Time passing is no event, and what a snapshot finds is in the table; only a
/// listener that was there before us is worth a line.
fn is_worth_a_line(event: &Event) -> bool {
    match &event.body {
        Body::Header(_) | Body::Tick(_) => false,
        Body::Socket(seen) => seen.state == State::Listen,
        // The TIME_WAIT that follows says it better than "closed".
        Body::State(change) => change.mini.is_none_or(|mini| mini.state != State::TimeWait),
        _ => true,
    }
}
