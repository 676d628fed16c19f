//! Checkpoints: states of the replay that are kept on the way, so that going back
//! does not start from the beginning.

use std::collections::BTreeMap;

use super::state::ReplayState;
use crate::engine::Engine;

/// Events between two checkpoints, at least.
const CHECKPOINT_EVERY: usize = 1 << 14;
/// Checkpoints at most. When there are more, every other one goes and the distance
/// between them doubles.
const MAX_CHECKPOINTS: usize = 64;
/// Sockets in all checkpoints together: about 500 bytes each.
const MAX_CHECKPOINT_SOCKETS: usize = 1 << 20;
/// Bytes that the events in all checkpoints take besides themselves.
const MAX_CHECKPOINT_WEIGHT: usize = 256 << 20;
/// Events per socket of the table between two checkpoints, at least: those of
/// large tables are rarer.
const EVENTS_PER_SOCKET: usize = 4;

/// States of the replay, by the event that each takes in next.
pub(super) struct Checkpoints {
    states: BTreeMap<usize, ReplayState>,
    every: usize,
}

impl Checkpoints {
    pub(super) fn new() -> Self {
        Self {
            states: BTreeMap::new(),
            every: CHECKPOINT_EVERY,
        }
    }

    /// The last one at the event or before it.
    pub(super) fn at_or_before(&self, event: usize) -> Option<&ReplayState> {
        let (_, state) = self.states.range(..=event).next_back()?;
        Some(state)
    }

    /// Keeps the state if the last checkpoint is far enough behind.
    pub(super) fn offer(&mut self, state: &ReplayState) {
        let last = self.at_or_before(state.next).map_or(0, |last| last.next);
        let sockets = state.engine.table().len();
        let distance = self.every.max(sockets.saturating_mul(EVENTS_PER_SOCKET));
        if state.next - last >= distance {
            self.keep(state);
        }
    }

    /// Keeps the state in any case: many seeks lead to the end.
    pub(super) fn keep(&mut self, state: &ReplayState) {
        if self.states.contains_key(&state.next) {
            return;
        }
        self.states.insert(state.next, state.clone());
        while self.is_over_limit() {
            self.every *= 2;
            // The last one stays.
            let mut is_kept = self.states.len().is_multiple_of(2);
            self.states.retain(|_, _| {
                is_kept = !is_kept;
                is_kept
            });
        }
    }

    fn is_over_limit(&self) -> bool {
        self.states.len() > MAX_CHECKPOINTS
            || (self.states.len() > 1
                && (self.sum(|engine| engine.table().len()) > MAX_CHECKPOINT_SOCKETS
                    || self.sum(|engine| engine.log().weight()) > MAX_CHECKPOINT_WEIGHT))
    }

    fn sum(&self, of: fn(&Engine) -> usize) -> usize {
        self.states.values().map(|state| of(&state.engine)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_checkpoints_is_bounded_and_the_last_one_is_among_them() {
        let mut checkpoints = Checkpoints::new();
        let mut state = ReplayState::at_start(0);
        for next in 0..200 * CHECKPOINT_EVERY + 5 {
            state.next = next;
            checkpoints.offer(&state);
            assert!(checkpoints.states.len() <= MAX_CHECKPOINTS);
        }
        assert!(checkpoints.states.len() > MAX_CHECKPOINTS / 4);
        assert_eq!(checkpoints.every, 4 * CHECKPOINT_EVERY);

        state.next = 200 * CHECKPOINT_EVERY + 5;
        checkpoints.keep(&state);
        assert_eq!(
            checkpoints.at_or_before(usize::MAX).unwrap().next,
            state.next
        );
        assert!(checkpoints.at_or_before(state.next - 1).unwrap().next < state.next);
    }

    #[test]
    fn thinning_keeps_the_last_one_however_many_there_are() {
        for count in [MAX_CHECKPOINTS, MAX_CHECKPOINTS + 1] {
            let mut checkpoints = Checkpoints::new();
            let mut state = ReplayState::at_start(0);
            for next in 0..=count {
                state.next = next;
                checkpoints.keep(&state);
            }
            assert_eq!(checkpoints.at_or_before(usize::MAX).unwrap().next, count);
        }
    }
}
