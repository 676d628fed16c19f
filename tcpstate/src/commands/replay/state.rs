//! The state of a replay: an engine that has taken in a recording up to an event.

use crate::engine::{Engine, Limits};

/// Events that the screen can reach back to.
const MAX_LOG_EVENTS: usize = 1 << 13;

/// An engine, and how far into the recording it is.
#[derive(Clone)]
pub(super) struct ReplayState {
    pub(super) engine: Engine,
    /// The event that comes next.
    pub(super) next: usize,
}

impl ReplayState {
    /// Before the first event, which has this position.
    pub(super) fn at_start(seq: u64) -> Self {
        let mut engine = Engine::new(Limits {
            events: MAX_LOG_EVENTS,
            ..Limits::default()
        });
        engine.begin_at(seq);
        Self { engine, next: 0 }
    }
}
