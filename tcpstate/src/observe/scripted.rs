//! A kernel that a test writes: it answers what the script says, and its time goes on by a
//! fixed amount whenever it is read.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::source::{SocketName, Source, Unanswered};
use crate::engine::{Engine, Limits};
use crate::event::{Body, Endpoint, Family, Sock, State};
use crate::model::{NS_PER_MS, SocketId};
use crate::snapshot::SocketItem;
use crate::snapshot::netns::NetnsError;

pub(super) const NETNS: u32 = 7;

/// What it would answer.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    now_ns: Cell<u64>,
    /// By so much time goes on at each reading.
    pub(super) tick_ns: u64,
    pub(super) processor_ns: Cell<u64>,
    /// By so much the processor's time goes on at each reading.
    pub(super) processor_tick_ns: u64,
    pub(super) sockets: BTreeMap<u32, Vec<SocketItem>>,
    /// Cookies of sockets that no list has: it changed while it was read.
    pub(super) overlooked: BTreeSet<u64>,
    pub(super) open: BTreeMap<u32, HashSet<u64>>,
    pub(super) has_iterator: bool,
    /// Nothing is answered.
    pub(super) is_silent: bool,
    pub(super) ended: Vec<NetnsError>,
    pub(super) unreachable: BTreeSet<u32>,
    pub(super) searched_ns: u64,
    /// How often it was asked for what.
    pub(super) lookups: usize,
    pub(super) walks: usize,
    /// Namespaces that were listed, and whether with those that are only bound.
    pub(super) lists: Vec<(u32, bool)>,
}

impl Scripted {
    /// With these sockets, some seconds after the boot.
    pub(super) fn with(sockets: impl IntoIterator<Item = SocketItem>) -> Self {
        let mut source = Self {
            now_ns: Cell::new(5_000 * NS_PER_MS),
            tick_ns: 1,
            has_iterator: true,
            ..Self::default()
        };
        source.sockets.entry(NETNS).or_default();
        for socket in sockets {
            let netns = socket.sock.netns;
            source.sockets.entry(netns).or_default().push(socket);
        }
        source
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
    }

    pub(super) fn remove(&mut self, cookie: u64) {
        for sockets in self.sockets.values_mut() {
            sockets.retain(|item| item.sock.cookie != cookie);
        }
    }

    fn listed(&self, netns: u32, is_wanted: impl Fn(&SocketItem) -> bool) -> VecDeque<SocketItem> {
        let sockets = self.sockets.get(&netns).into_iter().flatten();
        let listed = sockets.filter(|item| !self.overlooked.contains(&item.sock.cookie));
        listed.filter(|item| is_wanted(item)).cloned().collect()
    }

    fn answer<T>(&self, answer: T) -> Result<T, Unanswered> {
        if self.is_silent {
            Err(Unanswered)
        } else {
            Ok(answer)
        }
    }
}

impl Source for Scripted {
    type List = VecDeque<SocketItem>;
    type Walk = VecDeque<SocketItem>;
    type Lookup = u32;

    fn now_ns(&self) -> u64 {
        self.now_ns.set(self.now_ns.get() + self.tick_ns);
        self.now_ns.get()
    }

    fn processor_ns(&self) -> u64 {
        let now_ns = self.processor_ns.get() + self.processor_tick_ns;
        self.processor_ns.set(now_ns);
        now_ns
    }

    fn begin_list(&mut self, netns: u32, with_bound: bool) -> Result<Self::List, Unanswered> {
        self.lists.push((netns, with_bound));
        self.answer(self.listed(netns, |item| with_bound || item.state != State::Bound))
    }

    fn read_list(
        &mut self,
        list: &mut Self::List,
        to: &mut Vec<SocketItem>,
    ) -> Result<bool, Unanswered> {
        to.extend(list.pop_front());
        self.answer(!list.is_empty())
    }

    fn begin_walk(&mut self, netns: u32) -> Result<Option<Self::Walk>, NetnsError> {
        self.walks += 1;
        let listed = self.listed(netns, |item| item.state != State::Bound);
        Ok(self.has_iterator.then_some(listed))
    }

    fn read_walk(
        &mut self,
        walk: &mut Self::Walk,
        to: &mut Vec<(u64, SocketItem)>,
    ) -> Result<bool, Unanswered> {
        let now_ns = self.now_ns();
        to.extend(walk.pop_front().map(|item| (now_ns, item)));
        self.answer(!walk.is_empty())
    }

    fn list_without_walk(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError> {
        let now_ns = self.now_ns();
        let listed = self.listed(netns, |_| true).into_iter();
        Ok(listed.map(|item| (now_ns, item)).collect())
    }

    fn begin_lookup(&mut self, netns: u32) -> Result<u32, Unanswered> {
        self.answer(netns)
    }

    fn look_up(
        &mut self,
        netns: &mut u32,
        name: &SocketName,
    ) -> Result<Option<SocketItem>, Unanswered> {
        self.lookups += 1;
        let mut sockets = self.sockets.get(netns).into_iter().flatten();
        let found = sockets.find(|item| {
            item.tuple() == name.tuple()
                && (name.sock.cookie == 0 || name.sock.cookie == item.sock.cookie)
        });
        self.answer(found.cloned())
    }

    fn open_sockets(&mut self, pid: u32) -> HashSet<u64> {
        self.open.get(&pid).cloned().unwrap_or_default()
    }

    fn note_namespaces(&mut self) -> bool {
        true
    }

    fn known_namespaces(&self) -> Vec<u32> {
        self.sockets.keys().copied().collect()
    }

    fn knows_namespace(&self, netns: u32) -> bool {
        self.sockets.contains_key(&netns)
    }

    fn find_namespace(&mut self, netns: u32) -> Result<(), NetnsError> {
        if self.unreachable.contains(&netns) {
            Err(NetnsError::Unreachable(netns))
        } else {
            Ok(())
        }
    }

    fn take_ended_namespaces(&mut self) -> Vec<NetnsError> {
        std::mem::take(&mut self.ended)
    }

    fn namespaces_searched_ns(&self) -> u64 {
        self.searched_ns
    }
}

pub(super) fn engine() -> Engine {
    Engine::new(Limits::default())
}

fn endpoint(host: u8, port: u16) -> Endpoint {
    Endpoint {
        addr: [127, 0, 0, host].into(),
        port,
    }
}

/// A listed socket, number `cookie`, in a state that has a peer or none.
pub(super) fn item(cookie: u64, state: State) -> SocketItem {
    let has_peer = !matches!(state, State::Listen | State::Bound);
    SocketItem {
        sock: Sock {
            cookie,
            netns: NETNS,
            family: Family::Ipv4,
        },
        local: endpoint(1, 8080),
        peer: if has_peer {
            endpoint(2, 40_000 + u16::try_from(cookie).expect("a small number"))
        } else {
            endpoint(0, 0)
        },
        state,
        is_mini: false,
        reuse: None,
        v6only: None,
        bound_dev_if: None,
        uid: Some(0),
        inode: Some(1000 + cookie),
        is_kernels: false,
        is_port_locked: None,
        is_connect_bound: None,
        expires_ms: None,
        receive_queue: None,
    }
}

/// A TIME_WAIT with so much time left.
pub(super) fn time_wait(cookie: u64, expires_ms: u64) -> SocketItem {
    SocketItem {
        is_mini: true,
        inode: None,
        expires_ms: Some(expires_ms),
        ..item(cookie, State::TimeWait)
    }
}

/// The engine knows it since then.
pub(super) fn know(engine: &mut Engine, item: &SocketItem, mono_ns: u64) -> SocketId {
    engine.observe(mono_ns, Body::Socket(item.to_seen(None)));
    let known = engine.lookup(&item.to_seen(None)).expect("it was reported");
    known.id()
}

/// Feeds them, and names what they say: cookie and state.
pub(super) fn feed(engine: &mut Engine, facts: Vec<(u64, Body)>) -> Vec<(u64, State)> {
    let mut fed = Vec::new();
    for (mono_ns, body) in facts {
        if let Body::Socket(seen) = &body {
            fed.push((seen.sock.cookie, seen.state));
        }
        engine.observe(mono_ns, body);
    }
    fed
}
