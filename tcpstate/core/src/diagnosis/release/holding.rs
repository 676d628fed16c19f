//! What each socket in the way is to somebody who wants it gone, and who may not be
//! touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnosis::conflict::{self, Verdict};
use crate::diagnosis::facts::Facts;
use crate::diagnosis::managers::Manager;
use crate::diagnosis::roles::{Blocker, HolderRole};
use crate::diagnosis::{stop, text};
use crate::event::{Fix, Process, Refusal, RefusedFor, State};

use super::group::Group;
use super::{Releaser, TargetProcess};

/// The process that all others descend from.
const INIT: u32 = 1;

/// The sockets in the way, by what can be done about them.
#[derive(Debug)]
pub(super) struct Holding<'f, 'a> {
    /// No process has them open.
    pub(super) unowned: Vec<&'f Blocker<'a>>,
    /// Connections of processes that go on.
    pub(super) of_the_living: Vec<&'f Blocker<'a>>,
    /// Connections of processes that are to be stopped, and those that wait to be accepted.
    pub(super) ending: Vec<&'f Blocker<'a>>,
    /// Those who have a listening or bound socket of the port, by pid.
    pub(super) to_stop: BTreeMap<u32, TargetProcess>,
    /// Holders that are left alone.
    pub(super) refusals: Vec<Refusal>,
}

impl<'f, 'a> Holding<'f, 'a> {
    pub(super) fn of(facts: &'f Facts<'a>, releaser: &Releaser) -> Self {
        let mut holding = Self {
            unowned: Vec::new(),
            of_the_living: Vec::new(),
            ending: Vec::new(),
            to_stop: BTreeMap::new(),
            refusals: Vec::new(),
        };
        let mut connections = Vec::new();
        for blocker in facts.blockers.iter().chain(&facts.possible) {
            // A client has the port as its peer's. Whoever reads the tables has sorted it out
            // already, but nobody else would notice if not.
            if blocker.seen.local.port != facts.port {
                continue;
            }
            if !is_certain(facts, blocker) {
                holding.refuse(not_certain(facts, blocker));
            } else if is_open(blocker) {
                holding.add_open(facts, blocker, releaser);
            } else {
                connections.push(blocker);
            }
        }
        let has_listener = facts
            .candidates
            .iter()
            .any(|candidate| candidate.seen.state == State::Listen);
        for connection in connections {
            holding.add_connection(facts, connection, releaser, has_listener);
        }
        holding
    }

    /// Cookies of all connections that go with what is done.
    pub(super) fn connections(&self) -> BTreeSet<u64> {
        let all = self.unowned.iter().chain(&self.of_the_living);
        all.chain(&self.ending)
            .filter_map(|blocker| blocker.seen.sock.known_cookie())
            .collect()
    }

    fn refuse(&mut self, refusal: Refusal) {
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// Refuses for each of a socket's processes that may not be touched; whether there are any.
    fn refuses(
        &mut self,
        facts: &Facts<'_>,
        blocker: &Blocker<'_>,
        processes: &[&Process],
        releaser: &Releaser,
    ) -> bool {
        let mut is_refused = false;
        for process in processes {
            if let Some(refusal) = untouchable(facts, blocker, process, processes, releaser) {
                self.refuse(refusal);
                is_refused = true;
            }
        }
        is_refused
    }

    /// A socket that listens or is bound: whoever has it open has to let go of it.
    fn add_open(&mut self, facts: &Facts<'a>, blocker: &'f Blocker<'a>, releaser: &Releaser) {
        let processes = blocker.open_in();
        if processes.is_empty() {
            return self.refuse(not_seen(facts, blocker));
        }
        // Accepted sockets give the port back when they end, so that this one was bound
        // first and connected then.
        if blocker.role == HolderRole::Bound && blocker.seen.peer.has_port() {
            return self.refuse(outgoing(facts, &processes));
        }
        // As long as they have it, it does not help to stop the others.
        if self.refuses(facts, blocker, &processes, releaser) {
            return;
        }
        for process in processes {
            let Some(start_ticks) = process.start_ticks else {
                self.refuse(no_start(facts, process));
                continue;
            };
            let target = self
                .to_stop
                .entry(process.pid)
                .or_insert_with(|| TargetProcess {
                    process: Arc::new(process.clone()),
                    start_ticks,
                    inodes: BTreeSet::new(),
                });
            target.inodes.extend(blocker.seen.inode);
        }
    }

    fn add_connection(
        &mut self,
        facts: &Facts<'a>,
        blocker: &'f Blocker<'a>,
        releaser: &Releaser,
        has_listener: bool,
    ) {
        let processes = blocker.open_in();
        let is_leaving = matches!(blocker.role, HolderRole::TimeWait | HolderRole::Closing);
        if processes.iter().any(|process| process.is_kernel()) {
            return self.refuse(kernels(facts, blocker));
        }
        if blocker.seen.inode.is_none() {
            // One that nobody has accepted yet is its listener's.
            if !is_leaving && has_listener {
                self.ending.push(blocker);
            } else {
                self.unowned.push(blocker);
            }
            return;
        }
        if processes
            .iter()
            .any(|process| self.to_stop.contains_key(&process.pid))
        {
            return self.ending.push(blocker);
        }
        if !processes.is_empty()
            && processes
                .iter()
                .all(|process| Group::ends_with(facts, releaser, &self.to_stop, process))
        {
            return self.ending.push(blocker);
        }
        if self.refuses(facts, blocker, &processes, releaser) {
            return;
        }
        // The kernel gives the port back with the connection only where it was chosen.
        if blocker.role == HolderRole::Outgoing && blocker.seen.is_port_locked == Some(true) {
            return self.refuse(outgoing(facts, &processes));
        }
        self.of_the_living.push(blocker);
    }
}

fn is_open(blocker: &Blocker<'_>) -> bool {
    matches!(blocker.role, HolderRole::Listener | HolderRole::Bound)
}

/// Whether it is in the way for certain, not only for want of its options.
fn is_certain(facts: &Facts<'_>, blocker: &Blocker<'_>) -> bool {
    facts.binder.is_some_and(|binder| {
        let bound = conflict::BoundSocket::from(blocker.seen);
        conflict::verdict(&binder, &bound) == Verdict::Conflict
    })
}

/// Why a process is neither stopped nor loses a connection.
fn untouchable(
    facts: &Facts<'_>,
    blocker: &Blocker<'_>,
    process: &Process,
    all: &[&Process],
    releaser: &Releaser,
) -> Option<Refusal> {
    if process.is_kernel() {
        return Some(kernels(facts, blocker));
    }
    let manager = match Manager::of(facts, &[process]) {
        Some(Manager::ToBeFound(_)) => Manager::of(facts, all),
        _ => None,
    };
    let name = text::process(process);
    if let Some(Manager::ToBeFound(fix)) = manager {
        let why = if process.pid == INIT {
            RefusedFor::Init
        } else {
            RefusedFor::HeldForAnother
        };
        return Some(advised(facts, why, name, fix));
    }
    let (why, text) = if process.pid == INIT {
        let text = format!("{name} is the first process, without which no other one lives");
        (RefusedFor::Init, text)
    } else if process.pid == releaser.own.pid {
        (RefusedFor::Itself, format!("{name} is this very program"))
    } else if releaser.lineage.contains(&process.pid) {
        let text = format!(
            "this very program was started from {name}, and would end with it; run it from \
             somewhere else"
        );
        (RefusedFor::Ancestor, text)
    } else {
        return None;
    };
    Some(refusal(facts, why, name, text))
}

fn kernels(facts: &Facts<'_>, blocker: &Blocker<'_>) -> Refusal {
    let why = RefusedFor::Kernel;
    let target = "the kernel".to_owned();
    match stop::stop_holder(facts, &[blocker]).into_iter().next() {
        Some(fix) => advised(facts, why, target, fix),
        None => refusal(
            facts,
            why,
            target,
            "the socket is the kernel's own".to_owned(),
        ),
    }
}

fn not_seen(facts: &Facts<'_>, blocker: &Blocker<'_>) -> Refusal {
    let target = format!("a socket on {}", blocker.seen.local);
    match stop::stop_holder(facts, &[blocker]).into_iter().next() {
        Some(fix) => advised(facts, RefusedFor::NotSeen, target, fix),
        None => refusal(facts, RefusedFor::NotSeen, target, String::new()),
    }
}

fn not_certain(facts: &Facts<'_>, blocker: &Blocker<'_>) -> Refusal {
    refusal(
        facts,
        RefusedFor::NotCertain,
        format!("a socket on {}", blocker.seen.local),
        "its options could not be read, so that it may not be in the way at all; root can read \
         them"
            .to_owned(),
    )
}

fn no_start(facts: &Facts<'_>, process: &Process) -> Refusal {
    refusal(
        facts,
        RefusedFor::NotCertain,
        text::process(process),
        "when it was started could not be read, so that nothing would tell it from another \
         process with its number"
            .to_owned(),
    )
}

fn outgoing(facts: &Facts<'_>, processes: &[&Process]) -> Refusal {
    let name = text::processes(processes.iter().copied())
        .unwrap_or_else(|| "a process that could not be seen".to_owned());
    let text = format!(
        "{name} bound the port and then connected from it: it is a client, which is not stopped, \
         and without its connection it would still have the port"
    );
    refusal(facts, RefusedFor::Outgoing, name, text)
}

fn advised(facts: &Facts<'_>, why: RefusedFor, target: String, fix: Fix) -> Refusal {
    let Fix {
        text,
        command,
        why: because,
        ..
    } = fix;
    let text = match because {
        Some(because) => format!("{text}: {because}"),
        None => text,
    };
    Refusal {
        command,
        ..refusal(facts, why, target, text)
    }
}

fn refusal(facts: &Facts<'_>, why: RefusedFor, target: String, text: String) -> Refusal {
    Refusal {
        why,
        port: facts.port,
        target,
        text,
        command: None,
    }
}
