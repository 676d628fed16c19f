//! The running kernel as the live policy's source.

use std::collections::HashSet;

use super::source::{SocketName, Source, Unanswered};
use crate::clock;
use crate::event::Body;
use crate::kernel::{Observer, Walk};
use crate::snapshot::netns::{Namespaces, NetnsError};
use crate::snapshot::sock_diag::{Dump, SockDiag};
use crate::snapshot::{SocketItem, owners};

/// Facts that are taken from the ring buffer in one go.
pub(crate) const DRAIN_MAX: usize = 1024;
/// Facts that are held while a list is read. What comes after that stays in the
/// ring buffer; where that is full, the kernel program counts what is lost.
const MAX_HELD: usize = 1 << 18;

/// The hooks, and the ways to ask beside them.
pub(crate) struct Kernel {
    pub(crate) observer: Observer,
    pub(crate) namespaces: Namespaces,
}

impl Kernel {
    pub(crate) fn of(observer: Observer) -> Self {
        Self {
            observer,
            namespaces: Namespaces::searched_in_a_thread(),
        }
    }

    /// Takes what has come out of the ring buffer, so that it does not run full, and
    /// keeps it for later.
    pub(crate) fn hold(&mut self, facts: &mut Vec<(u64, Body)>) {
        hold(&mut self.observer, facts);
    }

    /// Every namespace that can be found at any cost in that time, and whether there was time
    /// for all of them. What the hooks report meanwhile is held.
    pub(crate) fn all_namespaces(
        &mut self,
        wait_ns: u64,
        facts: &mut Vec<(u64, Body)>,
    ) -> (std::collections::BTreeSet<u32>, bool) {
        let observer = &mut self.observer;
        self.namespaces.all(wait_ns, || hold(observer, facts))
    }
}

fn hold(observer: &mut Observer, facts: &mut Vec<(u64, Body)>) {
    while facts.len() < MAX_HELD && observer.drain(DRAIN_MAX, facts) == DRAIN_MAX {}
}

impl Source for Kernel {
    type List = Dump;
    type Walk = Walk;
    type Lookup = SockDiag;

    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    fn processor_ns(&self) -> u64 {
        clock::processor_ns()
    }

    fn begin_list(&mut self, netns: u32, with_bound: bool) -> Result<Dump, Unanswered> {
        let begun = self
            .namespaces
            .inside(netns, || Dump::begin(netns, with_bound));
        begun.map_err(|_| Unanswered)?.map_err(|_| Unanswered)
    }

    fn read_list(&mut self, list: &mut Dump, to: &mut Vec<SocketItem>) -> Result<bool, Unanswered> {
        list.read(to).map_err(|_| Unanswered)
    }

    fn begin_walk(&mut self, netns: u32) -> Result<Option<Walk>, NetnsError> {
        let observer = &mut self.observer;
        let begun = self.namespaces.inside(netns, || observer.begin_walk())?;
        Ok(begun.ok())
    }

    fn read_walk(
        &mut self,
        walk: &mut Walk,
        to: &mut Vec<(u64, SocketItem)>,
    ) -> Result<bool, Unanswered> {
        let take = |mono_ns, item| to.push((mono_ns, item));
        self.observer.go_on(walk, take).map_err(|_| Unanswered)
    }

    fn list_without_walk(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError> {
        let sockets = self.namespaces.inside(netns, || {
            let listed = SockDiag::open(netns).and_then(|mut diag| diag.dump());
            listed.unwrap_or_default()
        })?;
        let now_ns = clock::monotonic_ns();
        Ok(sockets.into_iter().map(|socket| (now_ns, socket)).collect())
    }

    fn begin_lookup(&mut self, netns: u32) -> Result<SockDiag, Unanswered> {
        let opened = self.namespaces.inside(netns, || SockDiag::open(netns));
        opened.map_err(|_| Unanswered)?.map_err(|_| Unanswered)
    }

    fn look_up(
        &mut self,
        lookup: &mut SockDiag,
        name: &SocketName,
    ) -> Result<Option<SocketItem>, Unanswered> {
        let SocketName { sock, local, peer } = *name;
        let found = lookup.lookup(sock.family, local, peer, sock.cookie);
        found.map_err(|_| Unanswered)
    }

    fn open_sockets(&mut self, pid: u32) -> HashSet<u64> {
        owners::open_sockets(pid).collect()
    }

    fn note_namespaces(&mut self) -> bool {
        self.namespaces.note_all()
    }

    fn known_namespaces(&self) -> Vec<u32> {
        self.namespaces.known().collect()
    }

    fn knows_namespace(&self, netns: u32) -> bool {
        self.namespaces.knows(netns)
    }

    fn find_namespace(&mut self, netns: u32) -> Result<(), NetnsError> {
        self.namespaces.find(netns)
    }

    fn take_ended_namespaces(&mut self) -> Vec<NetnsError> {
        self.namespaces.take_ended()
    }

    fn namespaces_searched_ns(&self) -> u64 {
        self.namespaces.searched_ns()
    }
}
