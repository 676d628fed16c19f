//! Which events the event list shows: those worth a line that pass the filter. Only
//! new events are looked at.

use std::collections::VecDeque;

use crate::event::{Body, Event, State};
use crate::export::fold::Likeness;
use crate::tui::state::filter::Filter;
use crate::tui::state::list::Items;
use crate::tui::state::messages::{Message, Messages};
use crate::tui::state::view::View;

/// Entries that can be scrolled back to.
pub(crate) const MAX_ENTRIES: usize = 10_000;
/// Failures that are known again.
const MAX_FAILURES: usize = 64;

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
    failures: Vec<Failures>,
    /// Events and messages before these were taken in.
    next: Next,
    filter: Filter,
    /// Events and messages before these are hidden.
    cleared: Option<Next>,
}

/// The same failure again and again, of which the latest is listed.
#[derive(Debug)]
struct Failures {
    like: Likeness,
    /// The call, and why it failed.
    seqs: Vec<u64>,
    count: u64,
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
            self.failures.clear();
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
                self.fold(event);
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

    /// Takes the one that this failure repeats out of the list: the latest one is listed, with
    /// their number.
    fn fold(&mut self, event: &Event) {
        if let Body::Diagnosis(diagnosis) = &event.body {
            let of = self.failures.iter_mut();
            let like = of
                .into_iter()
                .find(|like| like.seqs.first() == Some(&diagnosis.of));
            if let Some(like) = like {
                like.seqs.push(event.seq);
            }
            return;
        }
        let (Some(like), Some(call)) = (Likeness::of(event), event.body.call()) else {
            return;
        };
        // One that was only counted says how many itself.
        if call.is_sum {
            return;
        }
        let count = call.failures();
        if let Some(known) = self.failures.iter_mut().find(|known| known.like == like) {
            for seq in std::mem::replace(&mut known.seqs, vec![event.seq]) {
                let place = self
                    .entries
                    .iter()
                    .rposition(|entry| *entry == Entry::Event(seq));
                place.and_then(|place| self.entries.remove(place));
            }
            known.count = known.count.saturating_add(count);
            return;
        }
        if self.failures.len() == MAX_FAILURES {
            self.failures.remove(0);
        }
        self.failures.push(Failures {
            like,
            seqs: vec![event.seq],
            count,
        });
    }

    /// For how many failures like it this call stands, those before it among them.
    pub(crate) fn count(&self, seq: u64) -> u64 {
        let of = self.failures.iter();
        let known = of
            .into_iter()
            .find(|known| known.seqs.first() == Some(&seq));
        known.map_or(1, |known| known.count)
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
        self.failures.clear();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::screens::story::{PORT, Story, process};

    #[test]
    fn the_same_failure_again_is_one_entry_with_the_true_count() {
        let mut story = Story::begun();
        let (web, other) = (process("web", 4900), process("other", 4901));
        let mut list = EventList::default();
        let mut refresh = |story: &Story| {
            let view = View::live(&story.engine, story.now_ns);
            list.refresh(&view, &Filter::default(), &Messages::default());
            let calls = list.entries().iter().filter_map(|entry| match entry {
                Entry::Event(seq) => {
                    let event = view.event(*seq)?;
                    Likeness::of(event).map(|_| list.count(*seq))
                }
                Entry::Message(_) => None,
            });
            (calls.collect::<Vec<u64>>(), list.entries().len())
        };

        story.bind_fails(PORT, &web, Vec::new());
        let once = refresh(&story);
        for _ in 0..4 {
            story.bind_fails(PORT, &web, Vec::new());
            story.wait_ms(1_000);
        }
        let again = refresh(&story);
        story.bind_fails(PORT, &other, Vec::new());

        assert_eq!(once.0, [1]);
        assert_eq!(again, (vec![5], once.1));
        assert_eq!(refresh(&story).0, [5, 1]);
    }
}
