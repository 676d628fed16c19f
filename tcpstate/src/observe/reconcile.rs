//! Reconcile: the whole list of the kernel is held against the table, again and
//! again, for what no hook announces: a TIME_WAIT that was destroyed or begun
//! anew, a socket that is only bound and goes, a half-open request, the port
//! that `connect` chose.
//!
//! A sweep is read in slices between events and costs at most a fixed share of
//! a processor: up to about ten thousand sockets there is one every second,
//! with a hundred thousand every eight to ten.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use anyhow::Result;

use super::Live;
use super::changes::{RECENT_NS, closed, difference};
use super::slice::Slice;
use crate::clock;
use crate::event::{Body, Endpoint, Process, Sock, SocketSeen, State};
use crate::model::{NS_PER_MS, PortKey, Socket, SocketId, Tuple};
use crate::snapshot::sock_diag::Dump;
use crate::snapshot::{SocketItem, owners};

/// One sweep follows another after a second at the earliest.
const EVERY_NS: u64 = 1_000 * NS_PER_MS;
/// Up to so many sockets a sweep is small. The number decides, not the cost: on a
/// busy machine everything costs more, and a difference is to be found as soon.
const SMALL: usize = 10_000;
/// A small sweep is followed by this many times its cost without one; the pass
/// through the kernel's hash tables takes 3 to 9 ms also where they are empty.
const REST_FACTOR_SMALL: u64 = 80;
/// No longer than this, unless that is less than so many times its cost.
const REST_SMALL_NS: u64 = 2_000 * NS_PER_MS;
const REST_FACTOR_LEAST: u64 = 40;
/// For all others: 5 ms of a processor per second.
const REST_FACTOR: u64 = 200;
/// Longest time that a slice keeps events and keys waiting.
const SLICE_NS: u64 = 4 * NS_PER_MS;
/// Time between two slices.
const BETWEEN_NS: u64 = 15 * NS_PER_MS;
/// Sockets that are only bound cost as much as all others. They are asked for
/// when there may be one, and for those that nothing tells of in every n-th round.
const BOUND_EVERY: u64 = 8;
/// Differences that one sweep follows up; the next one finds the others.
const MAX_DIFFERENCES: usize = 100_000;

/// Between sweeps, and the one that is going on.
#[derive(Debug, Default)]
pub(in crate::commands) struct Reconcile {
    waiting: VecDeque<u32>,
    current: Option<Sweep>,
    rounds: u64,
    with_bound: bool,
    is_bind_seen: bool,
    began_ns: u64,
    cost_ns: u64,
    /// Sockets that this round has come across.
    sockets: usize,
    next_ns: u64,
    /// Listeners that the last sweep of a namespace did not come across.
    missed_listeners: BTreeMap<u32, BTreeSet<SocketId>>,
}

/// What a socket is told by in one sweep: two TIME_WAITs may have one cookie.
type Key = (bool, u64, u16, u16);

fn key(is_mini: bool, sock: &Sock, local: Endpoint, peer: Endpoint) -> Key {
    if is_mini {
        (is_mini, sock.cookie, local.port, peer.port)
    } else {
        (is_mini, sock.cookie, 0, 0)
    }
}

/// Through one namespace.
#[derive(Debug)]
struct Sweep {
    netns: u32,
    dump: Dump,
    began_ns: u64,
    /// When the kernel prepared what is read next: it does so while it answers
    /// the call before.
    filled_ns: u64,
    is_read: bool,
    found: HashSet<Key>,
    /// What differed when it was read, with the time at which it was prepared.
    /// Events of that time may still be on their way.
    doubtful: Vec<(u64, SocketItem)>,
}

impl Live {
    /// Goes on with the sweep, or begins the next one.
    pub(super) fn reconcile_sockets(&mut self, now_ns: u64) -> Result<()> {
        if now_ns < self.reconcile.next_ns {
            return Ok(());
        }
        // What is compared must not be older than the list.
        self.catch_up()?;
        let began_cpu_ns = clock::processor_ns();
        if self.reconcile.current.is_none() {
            self.begin_sweep(now_ns);
        }
        if let Some(mut sweep) = self.reconcile.current.take() {
            // An error of sock_diag ends this sweep; the next one tries again.
            if self.go_on(&mut sweep)? {
                self.reconcile.current = Some(sweep);
            } else {
                self.reconcile.sockets += sweep.found.len();
            }
        }
        let ended_ns = clock::monotonic_ns();
        self.reconcile.cost_ns += clock::processor_ns().saturating_sub(began_cpu_ns);
        let is_round_over = self.reconcile.current.is_none() && self.reconcile.waiting.is_empty();
        self.reconcile.next_ns = if is_round_over {
            let cost_ns = self.reconcile.cost_ns;
            let rest_ns = if self.reconcile.sockets <= SMALL {
                let at_most_ns = REST_SMALL_NS.max(cost_ns * REST_FACTOR_LEAST);
                (cost_ns * REST_FACTOR_SMALL).min(at_most_ns)
            } else {
                cost_ns * REST_FACTOR
            };
            (ended_ns + rest_ns).max(self.reconcile.began_ns + EVERY_NS)
        } else {
            ended_ns + BETWEEN_NS
        };
        Ok(())
    }

    fn begin_sweep(&mut self, now_ns: u64) {
        if self.reconcile.waiting.is_empty() {
            let sweeps = &mut self.reconcile;
            sweeps.began_ns = now_ns;
            sweeps.cost_ns = 0;
            sweeps.sockets = 0;
            sweeps.rounds += 1;
            let bound = self.pipeline.engine().table().count(State::Bound);
            sweeps.with_bound = std::mem::take(&mut sweeps.is_bind_seen)
                || bound > 0
                || sweeps.rounds % BOUND_EVERY == 1;
            self.reconcile.waiting = if let Some(netns) = self.filters.netns {
                VecDeque::from([netns])
            } else {
                // What it finds is reconciled in the next round.
                self.resync.namespaces.note_all();
                self.resync.namespaces.known().collect()
            };
        }
        let Some(netns) = self.reconcile.waiting.pop_front() else {
            return;
        };
        let with_bound = self.reconcile.with_bound;
        let dump = self
            .resync
            .namespaces
            .inside(netns, || Dump::begin(netns, with_bound));
        if let Ok(Ok(dump)) = dump {
            self.reconcile.current = Some(Sweep {
                netns,
                dump,
                began_ns: now_ns,
                filled_ns: now_ns,
                is_read: false,
                found: HashSet::new(),
                doubtful: Vec::new(),
            });
        }
    }

    /// What was just bound is to be found soon.
    pub(super) fn note_for_reconcile(&mut self, body: &Body) {
        if let Body::Bind(call) = body
            && call.ok
        {
            self.reconcile.is_bind_seen = true;
        }
    }

    /// One slice. `false`: the sweep is over.
    fn go_on(&mut self, sweep: &mut Sweep) -> Result<bool> {
        let doubtful = std::mem::take(&mut sweep.doubtful);
        self.resolve(sweep.netns, doubtful)?;
        if sweep.is_read {
            self.miss(sweep)?;
            return Ok(false);
        }
        let slice = Slice::of(SLICE_NS);
        let mut items = Vec::new();
        while !slice.is_over() {
            let filled_ns = std::mem::replace(&mut sweep.filled_ns, clock::monotonic_ns());
            let Ok(is_more) = sweep.dump.read(&mut items) else {
                return Ok(false);
            };
            for item in items.drain(..) {
                sweep
                    .found
                    .insert(key(item.is_mini, &item.sock, item.local, item.peer));
                if sweep.doubtful.len() < MAX_DIFFERENCES && self.differs(&item) {
                    sweep.doubtful.push((filled_ns, item));
                }
            }
            if !is_more {
                sweep.is_read = true;
                break;
            }
        }
        Ok(true)
    }

    fn differs(&self, item: &SocketItem) -> bool {
        let seen = item.to_seen(None);
        match self.known(item) {
            None => !self.is_narrowed() && self.wants(&seen),
            Some(known) => difference(known, Some(seen), clock::monotonic_ns()).is_some(),
        }
    }

    /// The table's idea of a listed socket.
    fn known(&self, item: &SocketItem) -> Option<&Socket> {
        self.pipeline.engine().lookup(&item.to_seen(None))
    }

    /// What still differs, now that all events of that time are there.
    fn resolve(&mut self, netns: u32, doubtful: Vec<(u64, SocketItem)>) -> Result<()> {
        let mut new = Vec::new();
        for (asked_ns, item) in doubtful {
            let now_ns = clock::monotonic_ns();
            let seen = item.to_seen_at(asked_ns, now_ns);
            match self.known(&item) {
                Some(known) if known.has_changed_since(asked_ns) => {}
                Some(known) => {
                    if let Some(seen) = difference(known, Some(seen), now_ns) {
                        self.pipeline.feed(now_ns, Body::Socket(seen))?;
                    }
                }
                None if self.has_just_closed(&item, asked_ns) => {}
                None => new.push((item.inode, seen)),
            }
        }
        self.keep_those_there(netns, &mut new)?;
        // A process that has many sockets open is read once.
        let mut open = BTreeMap::new();
        for (inode, mut seen) in new {
            seen.process = inode.and_then(|inode| self.binder(&seen, inode, &mut open));
            self.pipeline
                .feed(clock::monotonic_ns(), Body::Socket(seen))?;
        }
        Ok(())
    }

    /// Of listed sockets that nobody knows, those that are there: thousands may have closed
    /// since they were listed, and only the last of them are remembered.
    fn keep_those_there(
        &mut self,
        netns: u32,
        new: &mut Vec<(Option<u64>, SocketSeen)>,
    ) -> Result<()> {
        // Others cannot be asked for by themselves.
        let can_be_asked_for = |seen: &SocketSeen| {
            !matches!(
                seen.state,
                State::Bound | State::Listen | State::SynReceived
            )
        };
        let names: Vec<_> = new
            .iter()
            .filter(|(_, seen)| can_be_asked_for(seen))
            .map(|(_, seen)| (seen.sock, seen.local, seen.peer))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let Ok(found) = self.look_up_by_name(netns, names.into_iter()) else {
            // The next sweep finds them.
            new.retain(|(_, seen)| !can_be_asked_for(seen));
            return Ok(());
        };
        self.catch_up()?;
        let engine = self.pipeline.engine();
        new.retain(|(_, seen)| {
            let tuple = Tuple {
                netns: seen.sock.netns,
                local: seen.local,
                peer: seen.peer,
            };
            let is_there = || {
                found
                    .get(&(seen.is_mini(), tuple))
                    .is_some_and(|there| there.state == seen.state)
            };
            !can_be_asked_for(seen) || (is_there() && engine.lookup(seen).is_none())
        });
        Ok(())
    }

    /// Whoever bound the port last, if it has this very socket open. Looking
    /// through all processes would cost more than the sweep.
    fn binder(
        &self,
        seen: &SocketSeen,
        inode: u64,
        open: &mut BTreeMap<u32, HashSet<u64>>,
    ) -> Option<Arc<Process>> {
        let key = PortKey {
            port: seen.local.port,
            netns: seen.sock.netns,
        };
        let (_, _, process) = self
            .pipeline
            .engine()
            .ports()
            .get(&key)?
            .last_bind
            .as_ref()?;
        open.entry(process.pid)
            .or_insert_with(|| owners::open_sockets(process.pid).collect())
            .contains(&inode)
            .then(|| Arc::new(process.tracked()))
    }

    fn has_just_closed(&self, item: &SocketItem, asked_ns: u64) -> bool {
        !item.is_mini
            && item.sock.cookie != 0
            && self
                .pipeline
                .engine()
                .socket(&SocketId::Cookie(item.sock.cookie))
                .is_some_and(|known| known.has_changed_since(asked_ns))
    }

    /// A run about some sockets only gets no further ones from a sweep.
    fn is_narrowed(&self) -> bool {
        let filters = &self.filters;
        !(filters.pids.is_empty() && filters.comms.is_empty() && filters.states.is_empty())
    }

    /// What the table has and the sweep did not come across.
    fn miss(&mut self, sweep: &Sweep) -> Result<()> {
        let missing: Vec<Socket> = self
            .pipeline
            .engine()
            .table()
            .iter()
            .filter(|socket| {
                socket.sock.netns == sweep.netns
                    && socket.sock.cookie != 0
                    && (self.reconcile.with_bound || socket.state != State::Bound)
                    && !sweep.found.contains(&key(
                        socket.is_mini,
                        &socket.sock,
                        socket.local,
                        socket.peer,
                    ))
                    && !socket.has_changed_since(sweep.began_ns.saturating_sub(RECENT_NS))
            })
            .take(MAX_DIFFERENCES)
            .cloned()
            .collect();
        if missing.is_empty() {
            self.reconcile.missed_listeners.remove(&sweep.netns);
            return Ok(());
        }
        // A list that changes while it is read can lack a socket. One that is
        // only bound, or listens, cannot be looked up by itself; a listener is
        // believed to be gone once a second sweep lacks it.
        let (bound, others): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|socket| matches!(socket.state, State::Bound | State::Listen));
        let listeners = bound
            .iter()
            .filter(|socket| socket.state == State::Listen)
            .map(Socket::id)
            .collect();
        let missed_before = self
            .reconcile
            .missed_listeners
            .insert(sweep.netns, listeners)
            .unwrap_or_default();
        let bound = bound
            .into_iter()
            .filter(|socket| socket.state != State::Listen || missed_before.contains(&socket.id()));
        let Ok(found) = self.look_up(sweep.netns, &others) else {
            return Ok(());
        };
        let there: BTreeSet<(bool, Tuple)> = found.into_keys().collect();
        self.catch_up()?;
        for socket in bound.chain(others) {
            let is_unchanged = self
                .pipeline
                .engine()
                .table()
                .get(&socket.id())
                .is_some_and(|known| known.steps == socket.steps);
            if is_unchanged && !there.contains(&(socket.is_mini, socket.tuple())) {
                let seen: SocketSeen = closed(&socket);
                self.pipeline
                    .feed(clock::monotonic_ns(), Body::Socket(seen))?;
            }
        }
        Ok(())
    }
}
