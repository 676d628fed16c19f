//! What would free a port, as typed steps: from the same facts, roles and managers as the
//! advice that is printed, so that the two never disagree. Planned here, carried out
//! elsewhere.
//!
//! ```text
//! Question ─ facts ─ holding   what each socket in the way is, and who may not be touched
//!              ├──── group     who is stopped together
//!              └──── steps     sockets, units, containers, processes, in this order
//! ```
//!
//! Pure: no IO, no clock. Only sockets whose local port it is are looked at, so that the
//! client of a server is in no plan.

mod group;
mod holding;
mod steps;

#[cfg(test)]
#[path = "release/tests.rs"]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{
    Endpoint, Process, Refusal, RefusedFor, ReleaseStep, SeenHolder, Sock, State, UnitMember, YesNo,
};

use super::explain::EADDRINUSE;
use super::facts::Facts;
use super::{KnownHolder, Question};
use holding::Holding;

/// Who is about to free the port.
#[derive(Clone, Debug)]
pub struct Releaser {
    /// The process itself.
    pub own: Arc<Process>,
    /// Its parent, the parent of that, and so on, and itself.
    pub lineage: BTreeSet<u32>,
    /// All processes of the services that holders run in, by the services' names.
    pub units: BTreeMap<String, Vec<UnitMember>>,
    /// Version of the running kernel, such as (6, 12), where it is known.
    pub linux: Option<(u32, u32)>,
}

/// A socket that is to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetSocket {
    /// Which; the cookie is 0 where it was not read.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address.
    pub peer: Endpoint,
    /// State when it was seen.
    pub state: State,
    /// Interface index of `SO_BINDTODEVICE`; 0: none.
    pub device: u32,
    /// Some process has it open.
    pub is_owned: bool,
}

/// A process that is to be ended, or that ends with its unit or container.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetProcess {
    /// Who.
    pub process: Arc<Process>,
    /// When it started: distinguishes it from another one with its number.
    pub start_ticks: u64,
    /// Its sockets that hold the port.
    pub inodes: BTreeSet<u64>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Destroys exactly these.
    DestroySockets(Vec<TargetSocket>),
    /// Destroys what the connections of those leave that are stopped before: nobody's
    /// sockets, which do not exist yet.
    DestroyLeftovers,
    /// Stops a service.
    StopUnit {
        /// Its name.
        unit: String,
        /// The program and its arguments.
        stop: Vec<String>,
        /// Those who hold the port.
        processes: Vec<TargetProcess>,
    },
    /// Stops a container.
    StopContainer {
        /// Its id or name.
        name: String,
        /// The program and its arguments.
        stop: Vec<String>,
        /// The same for what prints the process that the container began with.
        inspect: Vec<String>,
        /// Those who hold the port.
        processes: Vec<TargetProcess>,
    },
    /// Ends a process.
    StopProcess(TargetProcess),
}

/// A step with what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStep {
    /// What it does.
    pub act: Act,
    /// The same in words.
    pub description: ReleaseStep,
}

/// What would free a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Would a bind, and then a listen, succeed as it is, as far as the port goes?
    pub would_listen: YesNo,
    /// In this order. None where a holder is left alone that can be freed by other hands
    /// only: whatever else were done, the port would stay held.
    pub steps: Vec<PlannedStep>,
    /// Holders that are left alone.
    pub refusals: Vec<Refusal>,
    /// Milliseconds until the last blocker is gone by itself; absent: never by itself, or
    /// not known.
    pub clears_ms: Option<u64>,
    /// Cookies of all connections that end with the steps.
    pub connections: BTreeSet<u64>,
}

impl RefusedFor {
    /// Whether nothing that may be done frees the port while it is held so.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::NotSeen | Self::NotCertain)
    }
}

/// What would free the port that the question is about.
#[must_use]
pub fn plan(question: &Question<'_>, releaser: &Releaser) -> Plan {
    let mut call = question.call(EADDRINUSE);
    call.process = Arc::clone(&releaser.own);
    let known = vec![KnownHolder::default(); question.seen.map_or(0, |seen| seen.holders.len())];
    let failure = question.failure(&call, &known);
    let facts = Facts::new(&failure);
    let mut plan = Plan {
        would_listen: question.by_rule(&facts).listen,
        steps: Vec::new(),
        refusals: Vec::new(),
        clears_ms: facts.clears_ms(),
        connections: BTreeSet::new(),
    };
    if plan.would_listen == YesNo::Yes {
        return plan;
    }
    let holding = Holding::of(&facts, releaser);
    plan.connections = holding.connections();
    plan.refusals.clone_from(&holding.refusals);
    let mut steps = steps::steps(&facts, &holding, releaser);
    plan.refusals.append(&mut steps.refusals);
    if !plan.refusals.iter().any(|refusal| refusal.why.is_final()) {
        plan.steps = steps.steps;
    }
    plan
}

fn target(seen: &SeenHolder) -> TargetSocket {
    TargetSocket {
        sock: seen.sock,
        local: seen.local,
        peer: seen.peer,
        state: seen.state,
        device: seen.bound_dev_if.unwrap_or(0),
        is_owned: seen.inode.is_some(),
    }
}
