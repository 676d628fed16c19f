//! A place in a recording: the engine as it is there.

use anyhow::{Context as _, Result, bail};

use super::copies::Copies;
use crate::clock;
use crate::engine::{Engine, Limits};
use crate::recording::ahead::Ahead;
use crate::recording::index::Index;
use crate::recording::memory;

/// Events between two looks at the clock.
const CLOCK_EVERY: usize = 64;
/// Events that the screen can reach back to.
const KEPT_EVENTS: usize = 1 << 13;

/// A place in a recording.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) engine: Engine,
    /// The event that comes next.
    pub(super) next: usize,
}

impl Place {
    /// Before the first event, which has this position.
    pub(super) fn first(seq: u64) -> Self {
        let mut engine = Engine::new(Limits {
            events: KEPT_EVENTS,
            ..Limits::default()
        });
        engine.begin_at(seq);
        Self { engine, next: 0 }
    }

    /// Goes on up to number `event`, but not beyond `mono_ns`. `false`: at
    /// `until_ns` of our own time it is not there yet.
    pub(super) fn go_on(
        &mut self,
        (index, ahead): (&mut Index, &mut Ahead),
        copies: &mut Copies,
        (event, mono_ns): (usize, u64),
        until_ns: u64,
    ) -> Result<bool> {
        if memory::resident() > memory::MAX_MEMORY {
            bail!(
                "what the recording has told up to event {} takes more than {} of memory: \
                 tcpstate keeps a million sockets in a third of that, so it is not a recording \
                 that it has made",
                self.next,
                bytesize::ByteSize(memory::MAX_MEMORY)
            );
        }
        let event = event.min(index.len());
        let mut fed = 0_usize;
        while self.next < event && index.time(self.next) <= mono_ns {
            if fed.is_multiple_of(CLOCK_EVERY) && fed > 0 && clock::monotonic_ns() >= until_ns {
                return Ok(false);
            }
            copies.pass(self);
            let fact = ahead.read_fact(index, self.next);
            if let Some(fact) = fact.context("cannot read the recording")? {
                self.engine.observe(fact.mono_ns, fact.body);
            }
            self.next += 1;
            fed += 1;
        }
        Ok(true)
    }
}
