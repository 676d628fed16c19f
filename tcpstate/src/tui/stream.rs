//! Which events the stream shows: those worth a line, that the filter lets
//! through. Kept up to date by looking at new events only.

use std::collections::VecDeque;

use super::filter::Filter;
use super::view::View;
use crate::event::{Body, Event, State};

/// Lines that can be scrolled back to.
pub(crate) const MAX_LINES: usize = 10_000;

/// The lines of the event stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    seqs: VecDeque<u64>,
    scanned_to: u64,
    filter: Filter,
}

impl Stream {
    /// Takes in the events that came since, or all if the filter has changed.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter) {
        if self.filter != *filter || view.next_seq < self.scanned_to {
            self.seqs.clear();
            self.scanned_to = 0;
            self.filter = filter.clone();
        }
        for event in view.log.since(self.scanned_to) {
            if is_worth_a_line(event) && filter.matches_event(event) {
                self.seqs.push_back(event.seq);
            }
        }
        self.scanned_to = view.next_seq;
        let kept_from = view.log.iter().next().map_or(0, |event| event.seq);
        while self
            .seqs
            .front()
            .is_some_and(|seq| *seq < kept_from || self.seqs.len() > MAX_LINES)
        {
            self.seqs.pop_front();
        }
    }

    /// Positions of the events, oldest first.
    pub(crate) fn seqs(&self) -> &VecDeque<u64> {
        &self.seqs
    }
}

/// Time passing is no event, and what a snapshot finds is in the table; only a
/// listener that was there before us is worth telling.
fn is_worth_a_line(event: &Event) -> bool {
    match &event.body {
        Body::Header(_) | Body::Tick(_) => false,
        Body::Socket(seen) => seen.state == State::Listen,
        // The TIME_WAIT that follows says it better than "closed".
        Body::State(change) => change.mini.is_none_or(|mini| mini.state != State::TimeWait),
        _ => true,
    }
}
