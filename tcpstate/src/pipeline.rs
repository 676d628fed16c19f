//! Facts through the engine to whoever wants the events: one way for live
//! runs, replays and the demo.

pub mod outputs;
pub mod selector;

use crate::engine::{Engine, Limits};
use crate::event::{Body, ClockAnchor, Footer};

pub use outputs::{OutputError, Outputs};
pub use selector::Selector;

/// Facts that are taken in before their events are written out. Must be well
/// below what the log keeps, which may not overtake the writers.
const BATCH: u64 = 1024;

/// Engine and outputs.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    selector: Selector,
    outputs: Outputs,
    clock: ClockAnchor,
    own_netns: Option<u32>,
    next_to_write: u64,
    last_fact_ns: u64,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits, selector: Selector, outputs: Outputs) -> Self {
        Self {
            engine: Engine::new(limits),
            selector,
            outputs,
            clock: ClockAnchor::default(),
            own_netns: None,
            next_to_write: 0,
            last_fact_ns: 0,
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine's schedule of looks into the kernel.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The outputs.
    pub fn outputs_mut(&mut self) -> &mut Outputs {
        &mut self.outputs
    }

    /// When the last fact came, monotonic clock.
    #[must_use]
    pub fn last_fact_ns(&self) -> u64 {
        self.last_fact_ns
    }

    /// Lets the recording see to its files, between two events.
    pub fn settle_recording(&mut self, mono_ns: u64) {
        self.outputs.settle_recording(mono_ns, self.next_to_write);
    }

    /// Counts positions from `seq` on, if nothing has happened yet: for a later
    /// part of a recording.
    pub fn begin_at(&mut self, seq: u64) {
        self.engine.begin_at(seq);
        self.next_to_write = self.engine.next_seq();
    }

    /// Takes in one fact, unless the run is narrowed to others.
    pub fn feed(&mut self, mono_ns: u64, body: Body) -> Result<(), OutputError> {
        if let Body::Header(header) = &body {
            self.clock = header.clock;
            // In a run about one namespace there is nothing to tell apart.
            self.own_netns = header.netns.filter(|_| header.filters.netns.is_none());
        }
        if !self.selector.admits(&body) {
            return Ok(());
        }
        self.last_fact_ns = mono_ns;
        self.engine.observe(mono_ns, body);
        if self.engine.next_seq() - self.next_to_write >= BATCH {
            self.write_out()?;
        }
        Ok(())
    }

    /// Writes what has happened since the last time.
    pub fn write_out(&mut self) -> Result<(), OutputError> {
        let from = self.next_to_write;
        self.next_to_write = self.engine.next_seq();
        for event in self.engine.log().since(from) {
            self.outputs.write(event, self.clock, self.own_netns)?;
        }
        self.outputs.flush()
    }

    /// Ends the run: footer, everything flushed.
    pub fn finish(&mut self, mono_ns: u64, ended: &str) -> Result<(), OutputError> {
        let footer = Footer {
            ended: ended.to_owned(),
            ..Footer::default()
        };
        self.feed(mono_ns, Body::Footer(Box::new(footer)))?;
        self.write_out()?;
        self.outputs.finish()
    }
}
