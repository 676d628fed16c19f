//! Resets, counted by direction, reason and state.

use std::collections::BTreeMap;

use super::{Clock, ResetCount, trim};
use crate::event::{Direction, Reset, State};

/// Kinds of resets that are told apart; the kernel has some forty reasons.
pub(super) const MAX_KINDS: usize = 256;
/// Resets of one kind that are named.
const MAX_SEQS: usize = 8;
/// Characters of a reason.
const MAX_REASON: usize = 80;

#[derive(Debug)]
struct KindTotal {
    direction: Direction,
    count: u64,
    first_ns: u64,
    last_ns: u64,
    seqs: Vec<u64>,
}

/// Resets by kind.
#[derive(Debug, Default)]
pub(super) struct Resets {
    kinds: BTreeMap<(bool, Option<String>, Option<State>), KindTotal>,
    left_out: u64,
}

impl Resets {
    pub(super) fn note(&mut self, mono_ns: u64, seq: u64, reset: &Reset) {
        let key = (
            reset.direction == Direction::Received,
            reset
                .reason
                .as_deref()
                .map(|reason| trim::text(reason, MAX_REASON)),
            reset.state,
        );
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let kind = self.kinds.entry(key).or_insert(KindTotal {
            direction: reset.direction,
            count: 0,
            first_ns: mono_ns,
            last_ns: mono_ns,
            seqs: Vec::new(),
        });
        kind.count += 1;
        kind.last_ns = mono_ns;
        if kind.seqs.len() < MAX_SEQS {
            kind.seqs.push(seq);
        }
    }

    /// Resets of kinds that found no room.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn finish(self, clock: Clock) -> Vec<ResetCount> {
        let mut counts: Vec<ResetCount> = self
            .kinds
            .into_iter()
            .map(|((_, reason, state), kind)| ResetCount {
                direction: kind.direction,
                reason,
                state,
                count: kind.count,
                first: clock.at(kind.first_ns),
                last: clock.at(kind.last_ns),
                seqs: kind.seqs,
            })
            .collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        counts
    }
}
