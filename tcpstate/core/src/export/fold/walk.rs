//! A process that tries one port after the other: which of its failures are reported one by one.

use std::collections::BTreeSet;

use super::{REPORT_EVERY_NS, holders};
use crate::event::{Call, Event, State};

/// Ports of a walk that are reported one by one.
const PORTS_REPORTED: usize = 3;

/// Failures of one process on many ports, all of one kind.
#[derive(Debug)]
pub struct Walk {
    name: &'static str,
    netns: u32,
    errno: Option<u32>,
    pid: u32,
    states: Vec<State>,
    pub(super) reported: BTreeSet<u16>,
    last_ns: u64,
}

impl Walk {
    /// One that this failure is the first of.
    #[must_use]
    pub fn from(event: &Event, call: &Call) -> Self {
        Self {
            name: event.body.name(),
            netns: netns(call),
            errno: call.errno,
            pid: call.process.pid,
            states: states(call),
            reported: BTreeSet::from([call.requested.port]),
            last_ns: event.mono_ns,
        }
    }

    /// Whether this failure may be another one of it.
    #[must_use]
    pub fn is_like(&self, event: &Event, call: &Call) -> bool {
        (self.name, self.netns, self.errno) == (event.body.name(), netns(call), call.errno)
            && self.pid == call.process.pid
            && self.states == states(call)
    }

    /// Takes in another one; whether it is only to be counted. `has_unreported`: others were
    /// counted, and that is not reported yet.
    pub fn folds(&mut self, event: &Event, call: &Call, has_unreported: bool) -> bool {
        let is_pause = event.mono_ns > self.last_ns.saturating_add(REPORT_EVERY_NS);
        self.last_ns = event.mono_ns;
        if is_pause && !has_unreported {
            self.reported.clear();
        }
        let port = call.requested.port;
        let is_reported = self.reported.len() < PORTS_REPORTED || self.reported.contains(&port);
        if is_reported {
            self.reported.insert(port);
        }
        !is_reported
    }
}

fn netns(call: &Call) -> u32 {
    call.sock.map_or(0, |sock| sock.netns)
}

fn states(call: &Call) -> Vec<State> {
    let states: BTreeSet<State> = holders(call).iter().map(|(_, state, _)| *state).collect();
    states.into_iter().collect()
}
