//! Reconcile: the whole list of the kernel is held against the table, again and
//! again, for what no hook announces: a TIME_WAIT that was destroyed or begun
//! anew, a socket that is only bound and goes, a half-open request, the port
//! that `connect` chose.
//!
//! A sweep is read in slices between events and costs at most a fixed share of
//! a processor: up to about ten thousand sockets there is one every second,
//! with a hundred thousand every eight to ten.
//!
//! What differs is judged when all events of the time at which it was read are taken in:
//! whoever calls [`Reconcile::step`] takes in first what the hooks have reported.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::changes::{RECENT_NS, closed, difference};
use super::scope::{is_narrowed, wants};
use super::source::{Listing, Slice, SocketName, Source};
use crate::engine::Engine;
use crate::event::{Body, Endpoint, Filters, Process, Sock, SocketSeen, State};
use crate::model::{NS_PER_MS, PortKey, Socket, SocketId, Tuple};
use crate::pace::{Limit, Pace};
use crate::snapshot::SocketItem;

/// One sweep follows another after a second at the earliest.
const EVERY_NS: u64 = 1_000 * NS_PER_MS;
/// Up to so many sockets a sweep is small. The number decides, not the cost: on a
/// busy machine everything costs more, and a difference is to be found as soon.
const SMALL: usize = 10_000;
/// A small sweep is followed by this many times its cost without one; the pass
/// through the kernel's hash tables takes 3 to 9 ms also where they are empty.
const REST_FACTOR_SMALL: u64 = 80;
/// No longer than this, unless that is less than so many times its cost.
const LONGEST_SMALL: Limit = Limit {
    least_ns: 2_000 * NS_PER_MS,
    factor: 40,
};
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
#[derive(Debug)]
pub(crate) struct Reconcile<S: Source> {
    waiting: VecDeque<u32>,
    current: Option<Sweep<S::List>>,
    rounds: u64,
    with_bound: bool,
    is_bind_seen: bool,
    began_ns: u64,
    cost_ns: u64,
    /// Sockets that this round has come across.
    sockets: usize,
    pace: Pace,
    /// Listeners that the last sweep of a namespace did not come across.
    missed_listeners: BTreeMap<u32, BTreeSet<SocketId>>,
}

/// What a socket is known by in one sweep: two TIME_WAITs may have one cookie.
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
struct Sweep<L> {
    netns: u32,
    list: L,
    began_ns: u64,
    /// When the kernel prepared what is read next: it does so while it answers
    /// the call before.
    filled_ns: u64,
    is_read: bool,
    found: HashSet<Key>,
    /// What differed when it was read, with the time at which it was prepared.
    /// Events of that time may still be on their way.
    doubtful: Vec<(u64, SocketItem)>,
    /// What was looked up and is judged next.
    asked: Option<Asked>,
}

/// Sockets that were looked up one by one, and what was found.
#[derive(Debug)]
enum Asked {
    /// That were listed and nobody knows.
    New(Vec<New>, Listing),
    /// That are known and were not listed. Those that are only bound, or listen, cannot be
    /// looked up.
    Missing {
        bound: Vec<Socket>,
        others: Vec<Socket>,
        found: Listing,
    },
}

/// A listed socket that nobody knows, with the inode of its file.
type New = (Option<u64>, SocketSeen);

/// How a step left the sweep.
enum Progress {
    /// What was looked up is to be judged before anything changes.
    AtOnce,
    Later,
    Over,
}

impl<S: Source> Default for Reconcile<S> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            current: None,
            rounds: 0,
            with_bound: false,
            is_bind_seen: false,
            began_ns: 0,
            cost_ns: 0,
            sockets: 0,
            pace: Pace::default(),
            missed_listeners: BTreeMap::new(),
        }
    }
}

impl<S: Source> Reconcile<S> {
    /// Whether there is something to do now.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.pace.is_due(now_ns)
    }

    /// Whether it goes on with what was looked up just now.
    pub(crate) fn is_at_once(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|sweep| sweep.asked.is_some())
    }

    /// What was just bound is to be found soon.
    pub(crate) fn note(&mut self, body: &Body) {
        if let Body::Bind(call) = body
            && call.ok
        {
            self.is_bind_seen = true;
        }
    }

    /// Goes on with the sweep, or begins the next one. The engine has all that the hooks have
    /// reported: what is compared must not be older than the list. The facts are those that
    /// it lacks.
    pub(crate) fn step(
        &mut self,
        engine: &Engine,
        filters: &Filters,
        source: &mut S,
    ) -> Vec<(u64, Body)> {
        let mut facts = Vec::new();
        let began_cpu_ns = source.processor_ns();
        if self.current.is_none() {
            self.begin(engine, filters, source);
        }
        let mut is_at_once = false;
        if let Some(mut sweep) = self.current.take() {
            match self.go_on(&mut sweep, engine, filters, source, &mut facts) {
                Progress::Over => self.sockets += sweep.found.len(),
                progress => {
                    is_at_once = matches!(progress, Progress::AtOnce);
                    self.current = Some(sweep);
                }
            }
        }
        let ended_ns = source.now_ns();
        self.cost_ns += source.processor_ns().saturating_sub(began_cpu_ns);
        let is_round_over = self.current.is_none() && self.waiting.is_empty();
        if is_round_over {
            let rest_ns = self.rest_ns();
            let at_the_earliest_ns = self.began_ns.saturating_add(EVERY_NS);
            self.pace
                .pause(at_the_earliest_ns.max(ended_ns.saturating_add(rest_ns)), 0);
        } else if is_at_once {
            self.pace.pause(ended_ns, 0);
        } else {
            self.pace.pause(ended_ns, BETWEEN_NS);
        }
        facts
    }

    /// How long a whole round is followed by none.
    fn rest_ns(&self) -> u64 {
        if self.sockets <= SMALL {
            let longest_ns = LONGEST_SMALL.pause_ns(self.cost_ns);
            self.cost_ns
                .saturating_mul(REST_FACTOR_SMALL)
                .min(longest_ns)
        } else {
            self.cost_ns.saturating_mul(REST_FACTOR)
        }
    }

    fn begin(&mut self, engine: &Engine, filters: &Filters, source: &mut S) {
        let now_ns = source.now_ns();
        if self.waiting.is_empty() {
            self.began_ns = now_ns;
            self.cost_ns = 0;
            self.sockets = 0;
            self.rounds += 1;
            self.with_bound = std::mem::take(&mut self.is_bind_seen)
                || engine.table().count(State::Bound) > 0
                || self.rounds % BOUND_EVERY == 1;
            self.waiting = if let Some(netns) = filters.netns {
                VecDeque::from([netns])
            } else {
                // What it finds is reconciled in the next round.
                source.note_namespaces();
                source.known_namespaces().into()
            };
        }
        let Some(netns) = self.waiting.pop_front() else {
            return;
        };
        if let Ok(list) = source.begin_list(netns, self.with_bound) {
            self.current = Some(Sweep {
                netns,
                list,
                began_ns: now_ns,
                filled_ns: now_ns,
                is_read: false,
                found: HashSet::new(),
                doubtful: Vec::new(),
                asked: None,
            });
        }
    }

    fn go_on(
        &mut self,
        sweep: &mut Sweep<S::List>,
        engine: &Engine,
        filters: &Filters,
        source: &mut S,
        facts: &mut Vec<(u64, Body)>,
    ) -> Progress {
        match sweep.asked.take() {
            Some(Asked::New(new, found)) => feed_new(new, Some(&found), engine, source, facts),
            Some(Asked::Missing {
                bound,
                others,
                found,
            }) => {
                feed_missing(
                    bound.into_iter().chain(others),
                    &found,
                    engine,
                    source,
                    facts,
                );
                return Progress::Over;
            }
            None => {
                let doubtful = std::mem::take(&mut sweep.doubtful);
                let new = feed_changed(doubtful, engine, source, facts);
                if new.iter().any(|(_, seen)| can_be_looked_up(seen)) {
                    sweep.asked = Some(look_up_new(sweep.netns, new, source));
                    return Progress::AtOnce;
                }
                feed_new(new, None, engine, source, facts);
            }
        }
        if sweep.is_read {
            sweep.asked = self.look_up_missing(sweep, engine, source);
            return if sweep.asked.is_some() {
                Progress::AtOnce
            } else {
                Progress::Over
            };
        }
        // An error ends this sweep; the next one tries again.
        if read(sweep, engine, filters, source) {
            Progress::Later
        } else {
            Progress::Over
        }
    }

    /// What the table has and the sweep did not come across. `None`: nothing, or the kernel
    /// cannot be asked.
    fn look_up_missing(
        &mut self,
        sweep: &Sweep<S::List>,
        engine: &Engine,
        source: &mut S,
    ) -> Option<Asked> {
        let is_missing = |socket: &&Socket| {
            socket.sock.netns == sweep.netns
                && socket.sock.cookie != 0
                && (self.with_bound || socket.state != State::Bound)
                && !sweep.found.contains(&key(
                    socket.is_mini,
                    &socket.sock,
                    socket.local,
                    socket.peer,
                ))
                && !socket.has_changed_since(sweep.began_ns.saturating_sub(RECENT_NS))
        };
        let missing = engine.table().iter().filter(is_missing);
        let missing: Vec<Socket> = missing.take(MAX_DIFFERENCES).cloned().collect();
        if missing.is_empty() {
            self.missed_listeners.remove(&sweep.netns);
            return None;
        }
        // A list that changes while it is read can lack a socket. One that is
        // only bound, or listens, cannot be looked up by itself; a listener is
        // believed to be gone once a second sweep lacks it.
        let (mut bound, others): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|socket| matches!(socket.state, State::Bound | State::Listen));
        let listeners = bound
            .iter()
            .filter(|socket| socket.state == State::Listen)
            .map(Socket::id)
            .collect();
        let missed_before = self
            .missed_listeners
            .insert(sweep.netns, listeners)
            .unwrap_or_default();
        bound
            .retain(|socket| socket.state != State::Listen || missed_before.contains(&socket.id()));
        let names = others.iter().map(SocketName::from);
        let found = source.look_up_all(sweep.netns, names).ok()?;
        Some(Asked::Missing {
            bound,
            others,
            found,
        })
    }
}

/// Reads one slice. `false`: the kernel does not answer.
fn read<S: Source>(
    sweep: &mut Sweep<S::List>,
    engine: &Engine,
    filters: &Filters,
    source: &mut S,
) -> bool {
    let slice = Slice::of(source, SLICE_NS);
    let mut items = Vec::new();
    while !slice.is_over(source) {
        let filled_ns = std::mem::replace(&mut sweep.filled_ns, source.now_ns());
        let Ok(is_more) = source.read_list(&mut sweep.list, &mut items) else {
            return false;
        };
        for item in items.drain(..) {
            sweep
                .found
                .insert(key(item.is_mini, &item.sock, item.local, item.peer));
            if sweep.doubtful.len() < MAX_DIFFERENCES
                && differs(&item, engine, filters, source.now_ns())
            {
                sweep.doubtful.push((filled_ns, item));
            }
        }
        if !is_more {
            sweep.is_read = true;
            break;
        }
    }
    true
}

fn differs(item: &SocketItem, engine: &Engine, filters: &Filters, now_ns: u64) -> bool {
    let seen = item.to_seen(None);
    match engine.lookup(&seen) {
        None => !is_narrowed(filters) && wants(filters, &seen),
        Some(known) => difference(known, Some(seen), now_ns).is_some(),
    }
}

/// Of what differed, what still does, now that all events of that time are there. Gives the
/// sockets that nobody knows.
fn feed_changed(
    doubtful: Vec<(u64, SocketItem)>,
    engine: &Engine,
    source: &impl Source,
    facts: &mut Vec<(u64, Body)>,
) -> Vec<New> {
    let mut new = Vec::new();
    for (asked_ns, item) in doubtful {
        let now_ns = source.now_ns();
        let seen = item.to_seen_at(asked_ns, now_ns);
        match engine.lookup(&item.to_seen(None)) {
            Some(known) if known.has_changed_since(asked_ns) => {}
            Some(known) => {
                if let Some(seen) = difference(known, Some(seen), now_ns) {
                    facts.push((now_ns, Body::Socket(seen)));
                }
            }
            None if has_just_closed(&item, asked_ns, engine) => {}
            None => new.push((item.inode, seen)),
        }
    }
    new
}

fn has_just_closed(item: &SocketItem, asked_ns: u64, engine: &Engine) -> bool {
    !item.is_mini
        && item.sock.cookie != 0
        && engine
            .socket(&SocketId::Cookie(item.sock.cookie))
            .is_some_and(|known| known.has_changed_since(asked_ns))
}

/// Others cannot be asked for by themselves.
fn can_be_looked_up(seen: &SocketSeen) -> bool {
    !matches!(
        seen.state,
        State::Bound | State::Listen | State::SynReceived
    )
}

/// Listed sockets that nobody knows may have closed since they were listed, thousands of them,
/// of which only the last are remembered.
fn look_up_new(netns: u32, mut new: Vec<New>, source: &mut impl Source) -> Asked {
    let names = new
        .iter()
        .map(|(_, seen)| seen)
        .filter(|seen| can_be_looked_up(seen))
        .map(SocketName::from);
    let names: Vec<_> = names.collect();
    let found = source.look_up_all(netns, names);
    if found.is_err() {
        // The next sweep finds them.
        new.retain(|(_, seen)| !can_be_looked_up(seen));
    }
    Asked::New(new, found.unwrap_or_default())
}

/// `found`: those of them that are there, as far as they can be looked up.
fn feed_new(
    mut new: Vec<New>,
    found: Option<&Listing>,
    engine: &Engine,
    source: &mut impl Source,
    facts: &mut Vec<(u64, Body)>,
) {
    let is_there = |seen: &SocketSeen| {
        let there = found.and_then(|found| {
            let tuple = SocketName::from(seen).tuple();
            found.get(&(seen.is_mini(), tuple))
        });
        there.is_some_and(|there| there.state == seen.state)
    };
    new.retain(|(_, seen)| {
        !can_be_looked_up(seen) || (is_there(seen) && engine.lookup(seen).is_none())
    });
    // A process that has many sockets open is read once.
    let mut open = BTreeMap::new();
    for (inode, mut seen) in new {
        seen.process = inode.and_then(|inode| binder(&seen, inode, engine, source, &mut open));
        facts.push((source.now_ns(), Body::Socket(seen)));
    }
}

/// Whoever bound the port last, if it has this very socket open. Looking
/// through all processes would cost more than the sweep.
fn binder(
    seen: &SocketSeen,
    inode: u64,
    engine: &Engine,
    source: &mut impl Source,
    open: &mut BTreeMap<u32, HashSet<u64>>,
) -> Option<Arc<Process>> {
    let key = PortKey {
        port: seen.local.port,
        netns: seen.sock.netns,
    };
    let (_, _, process) = engine.ports().get(&key)?.last_bind.as_ref()?;
    open.entry(process.pid)
        .or_insert_with(|| source.open_sockets(process.pid))
        .contains(&inode)
        .then(|| Arc::new(process.tracked()))
}

/// Those that have not changed since, and were not found.
fn feed_missing(
    missing: impl Iterator<Item = Socket>,
    found: &Listing,
    engine: &Engine,
    source: &impl Source,
    facts: &mut Vec<(u64, Body)>,
) {
    let there: BTreeSet<(bool, Tuple)> = found.keys().copied().collect();
    for socket in missing {
        let known = engine.table().get(&socket.id());
        let is_unchanged = known.is_some_and(|known| known.steps == socket.steps);
        if is_unchanged && !there.contains(&(socket.is_mini, socket.tuple())) {
            facts.push((source.now_ns(), Body::Socket(closed(&socket))));
        }
    }
}

#[cfg(test)]
mod tests;
