//! Which events the stream shows: those worth a line, that the filter lets
//! through. Kept up to date by looking at new events only.

use std::collections::VecDeque;

use crate::event::{Body, Event, State};
use crate::tui::state::filter::Filter;
use crate::tui::state::messages::{Note, Notes};
use crate::tui::state::view::View;

/// Lines that can be scrolled back to.
pub(crate) const MAX_LINES: usize = 10_000;

/// A line of the event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An event, by its position.
    Event(u64),
    /// Something that was said, by its number.
    Note(u64),
}

/// The lines of the event stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    lines: VecDeque<Line>,
    scanned_to: u64,
    next_note: u64,
    filter: Filter,
    /// Events and notes before these were put out of sight.
    cleared: Option<(u64, u64)>,
}

impl Stream {
    /// Takes in the events and notes that came since, or all if the filter has
    /// changed. Notes pass every filter.
    pub(crate) fn refresh(&mut self, view: &View<'_>, filter: &Filter, notes: &Notes) {
        // A replay that went back has nothing that could be out of sight.
        self.cleared = self.cleared.filter(|(seq, _)| *seq <= view.next_seq);
        if self.filter != *filter || view.next_seq < self.scanned_to {
            self.lines.clear();
            (self.scanned_to, self.next_note) = self.cleared.unwrap_or_default();
            self.filter = filter.clone();
        }
        let kept_from = view.log.iter().next().map_or(0, |event| event.seq);
        // What was said while the screen is frozen comes after what it shows.
        let next_note = self.next_note;
        let mut said = notes
            .iter()
            .filter(|note| note.number >= next_note)
            .take_while(|note| note.seq <= view.next_seq)
            .peekable();
        for event in view.log.since(self.scanned_to) {
            while let Some(note) = said.next_if(|note| note.seq <= event.seq) {
                self.tell(note);
            }
            if is_worth_a_line(event) && filter.matches_event(event) {
                self.lines.push_back(Line::Event(event.seq));
            }
        }
        for note in said {
            self.tell(note);
        }
        self.scanned_to = view.next_seq;
        while self.lines.front().is_some_and(|line| {
            let is_kept = match line {
                Line::Event(seq) => *seq >= kept_from,
                Line::Note(number) => notes.get(*number).is_some_and(|note| note.seq >= kept_from),
            };
            !is_kept || self.lines.len() > MAX_LINES
        }) {
            self.lines.pop_front();
        }
    }

    /// Puts the lines so far out of sight, or brings them back. `true`: they
    /// are out of sight.
    pub(crate) fn toggle_cleared(&mut self, next_seq: u64, notes: &Notes) -> bool {
        self.cleared = if self.cleared.is_some() {
            None
        } else {
            let next_note = notes.iter().last().map_or(0, |note| note.number + 1);
            Some((next_seq, next_note))
        };
        self.lines.clear();
        (self.scanned_to, self.next_note) = self.cleared.unwrap_or_default();
        self.is_cleared()
    }

    /// Whether lines are out of sight.
    pub(crate) fn is_cleared(&self) -> bool {
        self.cleared.is_some()
    }

    fn tell(&mut self, note: &Note) {
        self.lines.push_back(Line::Note(note.number));
        self.next_note = note.number + 1;
    }

    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> &VecDeque<Line> {
        &self.lines
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
