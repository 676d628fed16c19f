//! Engines put aside on the way, to go back to without beginning anew.

use std::collections::BTreeMap;

use super::place::Place;
use crate::engine::Engine;

/// Events between two copies, at least.
const COPY_EVERY: usize = 1 << 14;
/// Copies at most. When there are more, every other one goes and the distance
/// between them doubles.
const MAX_COPIES: usize = 64;
/// Sockets in all copies together: about 500 bytes each.
const MAX_COPIED_SOCKETS: usize = 1 << 20;
/// Bytes that the events in all copies take besides themselves.
const MAX_COPIED_WEIGHT: usize = 256 << 20;
/// How many times the table's sockets must have gone by as events before it is
/// copied again: copies of large tables are rarer.
const EVENTS_PER_SOCKET: usize = 4;

/// Copies of the engine, by the event that each takes next.
pub(super) struct Copies {
    copies: BTreeMap<usize, Place>,
    every: usize,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            copies: BTreeMap::new(),
            every: COPY_EVERY,
        }
    }

    /// The last one at the event or before it.
    pub(super) fn before(&self, event: usize) -> Option<&Place> {
        let (_, place) = self.copies.range(..=event).next_back()?;
        Some(place)
    }

    /// Keeps a copy if the last one is far enough.
    pub(super) fn pass(&mut self, place: &Place) {
        let last = self.before(place.next).map_or(0, |last| last.next);
        let sockets = place.engine.table().len();
        if place.next - last >= self.every.max(sockets.saturating_mul(EVENTS_PER_SOCKET)) {
            self.keep(place);
        }
    }

    /// Keeps a copy in any case: the end is where one likes to go.
    pub(super) fn keep(&mut self, place: &Place) {
        if self.copies.contains_key(&place.next) {
            return;
        }
        self.copies.insert(place.next, place.clone());
        while self.copies.len() > MAX_COPIES
            || (self.copies.len() > 1
                && (self.sum(|engine| engine.table().len()) > MAX_COPIED_SOCKETS
                    || self.sum(|engine| engine.log().weight()) > MAX_COPIED_WEIGHT))
        {
            self.every *= 2;
            // The last one stays.
            let mut is_kept = self.copies.len().is_multiple_of(2);
            self.copies.retain(|_, _| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    fn sum(&self, of: fn(&Engine) -> usize) -> usize {
        self.copies.values().map(|place| of(&place.engine)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_copies_and_no_more_and_the_last_one_is_among_them() {
        let mut copies = Copies::new();
        let mut place = Place::first(0);
        for next in 0..200 * COPY_EVERY + 5 {
            place.next = next;
            copies.pass(&place);
            assert!(copies.copies.len() <= MAX_COPIES);
        }
        assert!(copies.copies.len() > MAX_COPIES / 4);
        assert_eq!(copies.every, 4 * COPY_EVERY);

        place.next = 200 * COPY_EVERY + 5;
        copies.keep(&place);
        assert_eq!(copies.before(usize::MAX).unwrap().next, place.next);
        assert!(copies.before(place.next - 1).unwrap().next < place.next);
    }

    #[test]
    fn thinning_keeps_the_last_one_however_many_there_are() {
        for count in [MAX_COPIES, MAX_COPIES + 1] {
            let mut copies = Copies::new();
            let mut place = Place::first(0);
            for next in 0..=count {
                place.next = next;
                copies.keep(&place);
            }
            assert_eq!(copies.before(usize::MAX).unwrap().next, count);
        }
    }
}
