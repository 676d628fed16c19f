//! Narrows a run to processes by name, states and addresses. Ports, process
//! ids and namespaces are narrowed in the kernel already.
//!
//! What is not admitted is neither shown nor recorded: a recording replays to
//! exactly what was shown.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::event::{Body, Endpoint, Process, Sock, State};

/// Sockets that are remembered as belonging to a wanted process.
const MAX_WANTED: usize = 1 << 18;

/// What a run is narrowed to.
#[derive(Debug, Default)]
pub struct Selector {
    comms: Vec<String>,
    states: Vec<State>,
    addrs: Vec<IpAddr>,
    wanted: BTreeSet<u64>,
}

impl Selector {
    /// Narrows to any of each list; an empty list narrows nothing.
    #[must_use]
    pub fn new(comms: Vec<String>, states: Vec<State>, addrs: Vec<IpAddr>) -> Self {
        Self {
            comms,
            states,
            addrs: addrs.into_iter().map(|addr| addr.to_canonical()).collect(),
            wanted: BTreeSet::new(),
        }
    }

    /// Whether a fact belongs to the run.
    pub fn admits(&mut self, body: &Body) -> bool {
        if self.comms.is_empty() && self.states.is_empty() && self.addrs.is_empty() {
            return true;
        }
        match body {
            Body::Socket(seen) => {
                // Only of sockets that are in the table is it said that they are gone.
                (seen.state == State::Closed || self.has_state(seen.state, seen.state))
                    && self.has_addr(Some(seen.local), Some(seen.peer))
                    && self.has_comm(seen.process.as_deref(), Some(&seen.sock), None)
            }
            Body::State(change) => {
                // Short-circuit last: the comm filter learns from what it sees.
                let has_comm = self.has_comm(
                    change.process.as_deref(),
                    Some(&change.sock),
                    change.listener,
                );
                has_comm
                    && (self.has_state(change.old, change.new)
                        || change
                            .mini
                            .is_some_and(|mini| self.has_state(mini.state, mini.state)))
                    && self.has_addr(Some(change.local), Some(change.peer))
            }
            Body::Reset(reset) => {
                reset.state.is_none_or(|state| self.has_state(state, state))
                    && self.has_addr(Some(reset.local), Some(reset.peer))
                    && self.has_comm(reset.process.as_deref(), reset.sock.as_ref(), None)
            }
            Body::Bind(call) | Body::Listen(call) | Body::Connect(call) | Body::Accept(call) => {
                let asked = call.requested.addr.map(|addr| Endpoint {
                    addr,
                    port: call.requested.port,
                });
                self.has_comm(Some(&call.process), call.sock.as_ref(), None)
                    && (self.has_addr(asked, call.peer) || self.has_addr(call.local, None))
            }
            Body::Flood(flood) => self.comms.is_empty() || self.comms.contains(&flood.comm),
            _ => true,
        }
    }

    fn has_state(&self, old: State, new: State) -> bool {
        self.states.is_empty() || self.states.contains(&old) || self.states.contains(&new)
    }

    fn has_addr(&self, local: Option<Endpoint>, peer: Option<Endpoint>) -> bool {
        let is_wanted = |endpoint: Option<Endpoint>| {
            endpoint.is_some_and(|endpoint| self.addrs.contains(&endpoint.addr.to_canonical()))
        };
        self.addrs.is_empty() || is_wanted(local) || is_wanted(peer)
    }

    fn has_comm(
        &mut self,
        process: Option<&Process>,
        sock: Option<&Sock>,
        listener: Option<u64>,
    ) -> bool {
        if self.comms.is_empty() {
            return true;
        }
        let cookie = sock.map_or(0, |sock| sock.cookie);
        let is_wanted = process
            .is_some_and(|process| self.comms.iter().any(|comm| **comm == *process.comm))
            || listener.is_some_and(|listener| self.wanted.contains(&listener))
            || (cookie != 0 && self.wanted.contains(&cookie));
        if is_wanted && cookie != 0 && self.wanted.len() < MAX_WANTED {
            self.wanted.insert(cookie);
        }
        is_wanted
    }
}
