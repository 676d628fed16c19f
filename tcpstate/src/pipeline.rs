//! Facts through the engine to whoever wants the events: one way for live
//! runs, replays and the demo.

pub mod outputs;
pub mod selector;

use crate::engine::{Engine, Limits};
use crate::event::{Body, Footer};
use crate::export::describe::Context;
use crate::metrics::{Family, Metrics};

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
    context: Context<'static>,
    next_to_write: u64,
    last_fact_ns: u64,
    /// Counts what happens, for a service.
    metrics: Option<Metrics>,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits, selector: Selector, outputs: Outputs) -> Self {
        Self {
            engine: Engine::new(limits),
            selector,
            outputs,
            context: Context::default(),
            next_to_write: 0,
            last_fact_ns: 0,
            metrics: None,
        }
    }

    /// Counts what happens from now on.
    pub fn count(&mut self, metrics: Metrics) {
        self.metrics = Some(metrics);
    }

    /// All that was counted; nothing where nothing is counted.
    pub fn families(&mut self, version: &str) -> Vec<Family> {
        let metrics = self.metrics.as_mut();
        metrics.map_or_else(Vec::new, |metrics| metrics.families(&self.engine, version))
    }

    /// What happened so far.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, for its schedule of looks into the kernel and what it may forget.
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
            self.context = Context::of(header);
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
        if let Some(metrics) = &mut self.metrics {
            metrics.observe(&self.engine);
        }
        let from = self.next_to_write;
        self.next_to_write = self.engine.next_seq();
        for event in self.engine.log().since(from) {
            let failed = match &event.body {
                Body::Diagnosis(diagnosis) => self.engine.log().get(diagnosis.of),
                _ => None,
            };
            let context = Context {
                failed: failed.and_then(|call| call.body.call()),
                ..self.context
            };
            self.outputs.write(event, &context)?;
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::pipeline::outputs::Stdout;
    use crate::tui::screens::scenario::{self, PORT, Scenario, process};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_namespace_of_a_failed_call_is_told_with_what_to_do_about_it() {
        let mut scenario = Scenario::empty();
        let mut header = scenario::header(vec![]);
        header.netns = Some(1);
        scenario.observe(Body::Header(Box::new(header.clone())));
        scenario.bind_fails(PORT, &process("nginx", 4802), vec![]);
        let written = Written::default();
        let stdout = Stdout::Text(Box::new(written.clone()));
        let outputs = Outputs::new(stdout, None);
        let mut pipeline = Pipeline::new(Limits::default(), Selector::default(), outputs);

        for event in scenario.engine.log().iter() {
            if !event.body.is_derived() {
                let fed = pipeline.feed(event.mono_ns, event.body.clone());
                fed.expect("it can be written");
            }
        }
        pipeline.write_out().expect("it can be written");

        let text = written.0.lock().expect("not poisoned").clone();
        let text = String::from_utf8(text).expect("it is text");
        let (call, why) = text.split_once("WHY").expect("it is explained");
        let netns = format!("netns {}\n", scenario::NETNS);
        assert!(why.contains(&format!("where      in {netns}")), "{text}");
        // The run is about this one namespace: elsewhere it says nothing new.
        assert!(header.filters.netns.is_some() && !call.contains("netns"));
    }
}
