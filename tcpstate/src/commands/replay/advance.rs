//! Feeds recorded events to the engine of a replay, for a slice of time.

use anyhow::{Context as _, Result, bail};

use super::checkpoints::Checkpoints;
use super::state::ReplayState;
use crate::clock;
use crate::recording::index::Index;
use crate::recording::memory;
use crate::recording::prefetch::Prefetcher;

/// Events between two readings of the clock.
const CLOCK_EVERY: usize = 64;

/// How far to go.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Not beyond this event.
    pub(super) event: usize,
    /// Not beyond this time of the recording.
    pub(super) mono_ns: u64,
    /// Not beyond this time of our own.
    pub(super) deadline_ns: u64,
}

/// Where events come from, and where checkpoints go.
pub(super) struct Source<'a> {
    pub(super) index: &'a mut Index,
    pub(super) prefetcher: &'a mut Prefetcher,
    pub(super) checkpoints: &'a mut Checkpoints,
}

impl Source<'_> {
    /// Brings the state forward. `false`: the deadline came first.
    pub(super) fn advance(&mut self, state: &mut ReplayState, limit: Limit) -> Result<bool> {
        if memory::resident() > memory::MAX_MEMORY {
            bail!(
                "what the recording describes up to event {} takes more than {} of memory: \
                 tcpstate keeps a million sockets in a third of that, so it is not a recording \
                 that it has made",
                state.next,
                bytesize::ByteSize(memory::MAX_MEMORY)
            );
        }
        let end = limit.event.min(self.index.len());
        let mut fed = 0_usize;
        while state.next < end && self.index.time(state.next) <= limit.mono_ns {
            let is_clock_due = fed.is_multiple_of(CLOCK_EVERY) && fed > 0;
            if is_clock_due && clock::monotonic_ns() >= limit.deadline_ns {
                return Ok(false);
            }
            self.checkpoints.offer(state);
            let fact = self.prefetcher.read_fact(self.index, state.next);
            if let Some(fact) = fact.context("cannot read the recording")? {
                state.engine.observe(fact.mono_ns, fact.body);
            }
            state.next += 1;
            fed += 1;
        }
        Ok(true)
    }
}
