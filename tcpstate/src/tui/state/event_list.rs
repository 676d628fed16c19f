//! Which events the event list shows: those worth a line that pass the filter. Only
//! new events are looked at.

use std::collections::{BTreeSet, VecDeque};

use crate::event::{Body, Call, Event, State};
use crate::export::fold::{Likeness, Walk};
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
    walks: Vec<FoldedWalk>,
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

/// A walk of one process over many ports, of which the first ones are listed and the latest.
#[derive(Debug)]
struct FoldedWalk {
    walk: Walk,
    /// The latest call that is not listed one by one, and why it failed.
    seqs: Vec<u64>,
    folded: Folded,
}

/// For how many failed calls an entry stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Failed calls.
    pub(crate) calls: u64,
    /// Ports that they were made on, where it is a walk over them.
    pub(crate) ports: BTreeSet<u16>,
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
            self.walks.clear();
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
            let of_retries = self.failures.iter_mut().map(|failures| &mut failures.seqs);
            let of_walks = self.walks.iter_mut().map(|walk| &mut walk.seqs);
            let seqs = of_retries
                .chain(of_walks)
                .find(|seqs| seqs.first() == Some(&diagnosis.of));
            if let Some(seqs) = seqs {
                seqs.push(event.seq);
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
            let old = std::mem::replace(&mut known.seqs, vec![event.seq]);
            known.count = known.count.saturating_add(count);
            self.remove(&old);
            return;
        }
        if self.walks_on(event, call) {
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

    /// Whether its process tries one port after the other, and this one is only counted.
    fn walks_on(&mut self, event: &Event, call: &Call) -> bool {
        let known = self
            .walks
            .iter_mut()
            .find(|known| known.walk.is_like(event, call));
        let Some(known) = known else {
            if self.walks.len() == MAX_FAILURES {
                self.walks.remove(0);
            }
            self.walks.push(FoldedWalk {
                walk: Walk::from(event, call),
                seqs: Vec::new(),
                folded: Folded::default(),
            });
            return false;
        };
        // What was counted stands in the list at once.
        if !known.walk.folds(event, call, false) {
            return false;
        }
        let old = std::mem::replace(&mut known.seqs, vec![event.seq]);
        known.folded.ports.insert(call.requested.port);
        known.folded.calls = known.folded.calls.saturating_add(call.failures());
        self.remove(&old);
        true
    }

    /// Takes events out of the list; they are among the latest.
    fn remove(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let index = self
                .entries
                .iter()
                .rposition(|entry| *entry == Entry::Event(*seq));
            index.and_then(|index| self.entries.remove(index));
        }
    }

    /// For which failures like it this call stands, those before it among them.
    pub(crate) fn folded(&self, seq: u64) -> Folded {
        let is_it = |seqs: &[u64]| seqs.first() == Some(&seq);
        let retried = self.failures.iter().find(|known| is_it(&known.seqs));
        let walked = self.walks.iter().find(|known| is_it(&known.seqs));
        match (retried, walked) {
            (Some(known), _) => Folded {
                calls: known.count,
                ports: BTreeSet::new(),
            },
            (None, Some(walk)) => walk.folded.clone(),
            (None, None) => Folded {
                calls: 1,
                ports: BTreeSet::new(),
            },
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
        self.failures.clear();
        self.walks.clear();
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
    use crate::tui::screens::scenario::{PORT, Scenario, process};

    #[test]
    fn the_same_failure_again_is_one_entry_with_the_true_count() {
        let mut scenario = Scenario::begun();
        let (web, other) = (process("web", 4900), process("other", 4901));
        let mut list = EventList::default();
        let mut refresh = |scenario: &Scenario| {
            let view = View::live(&scenario.engine, scenario.now_ns);
            list.refresh(&view, &Filter::default(), &Messages::default());
            let calls = list.entries().iter().filter_map(|entry| match entry {
                Entry::Event(seq) => {
                    let event = view.event(*seq)?;
                    Likeness::of(event).map(|_| list.folded(*seq).calls)
                }
                Entry::Message(_) => None,
            });
            (calls.collect::<Vec<u64>>(), list.entries().len())
        };

        scenario.bind_fails(PORT, &web, Vec::new());
        let once = refresh(&scenario);
        for _ in 0..4 {
            scenario.bind_fails(PORT, &web, Vec::new());
            scenario.wait_ms(1_000);
        }
        let again = refresh(&scenario);
        scenario.bind_fails(PORT, &other, Vec::new());

        assert_eq!(once.0, [1]);
        assert_eq!(again, (vec![5], once.1));
        assert_eq!(refresh(&scenario).0, [5, 1]);
    }
    #[test]
    fn a_walk_over_many_ports_is_one_entry_behind_the_first_ones() {
        let mut scenario = Scenario::begun();
        let (web, other) = (process("web", 4900), process("other", 4901));
        let mut list = EventList::default();
        for port in PORT..PORT + 40 {
            scenario.bind_fails(port, &web, Vec::new());
            scenario.wait_ms(10);
            let view = View::live(&scenario.engine, scenario.now_ns);
            list.refresh(&view, &Filter::default(), &Messages::default());
        }
        scenario.bind_fails(PORT + 3, &other, Vec::new());
        let view = View::live(&scenario.engine, scenario.now_ns);
        list.refresh(&view, &Filter::default(), &Messages::default());

        let calls = list.entries().iter().filter_map(|entry| match entry {
            Entry::Event(seq) => Likeness::of(view.event(*seq)?).map(|_| list.folded(*seq)),
            Entry::Message(_) => None,
        });
        let calls: Vec<(u64, usize)> = calls.map(|one| (one.calls, one.ports.len())).collect();
        assert_eq!(calls, [(1, 0), (1, 0), (1, 0), (37, 37), (1, 0)]);
    }
}
