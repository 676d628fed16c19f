//! The table put right from the kernel's while a run goes on: mini-sockets that are polled,
//! and all sockets after a loss.

mod list;
mod poll;

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use foldhash::fast::FixedState;

use super::Live;
use super::changes::{RECENT_NS, closed, difference};
use super::namespaces::Sweep;
use super::orphaned_listeners::OrphanedListeners;
use super::slice::Slice;
use crate::clock;
use crate::event::{Body, Endpoint, Sock, SocketSeen, State};
use crate::model::{Socket, Tuple};
use crate::snapshot::SocketItem;
use crate::snapshot::netns::{Namespaces, NetnsError};
use crate::snapshot::sock_diag::SockDiag;

/// What is there: mini-sockets and others, by their addresses.
type Found = HashMap<(bool, Tuple), SocketSeen, FixedState>;

/// What resync, poll and reconcile share.
#[derive(Debug)]
pub(in crate::commands) struct Resync {
    pub(super) namespaces: Namespaces,
    pub(super) sweep: Sweep,
    pub(super) orphaned_listeners: OrphanedListeners,
    /// How long the kernel took for its last whole list.
    pub(super) listing_ns: u64,
    due: poll::Schedule,
}

impl Resync {
    pub(super) fn start() -> Self {
        Self {
            namespaces: Namespaces::searched_in_a_thread(),
            sweep: Sweep::default(),
            orphaned_listeners: OrphanedListeners::default(),
            listing_ns: 0,
            due: poll::Schedule::default(),
        }
    }
}

impl Live {
    /// Each socket by itself. `Err`: the kernel could not be asked.
    pub(super) fn look_up(&mut self, netns: u32, sockets: &[Socket]) -> Result<Found, ()> {
        let names = sockets
            .iter()
            .map(|socket| (socket.sock, socket.local, socket.peer));
        self.look_up_by_name(netns, names)
    }

    /// The same, by what the kernel calls them.
    pub(super) fn look_up_by_name(
        &mut self,
        netns: u32,
        names: impl Iterator<Item = (Sock, Endpoint, Endpoint)> + Send,
    ) -> Result<Found, ()> {
        let looked = self.resync.namespaces.inside(netns, || {
            let mut diag = SockDiag::open(netns)?;
            let mut found = Found::default();
            for (sock, local, peer) in names {
                if let Some(there) = diag.lookup(sock.family, local, peer, sock.cookie)? {
                    let netns = sock.netns;
                    let tuple = Tuple { netns, local, peer };
                    found.insert((there.is_mini, tuple), there.to_seen(None));
                }
            }
            Ok::<_, crate::snapshot::sock_diag::DiagError>(found)
        });
        match looked {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// All sockets of a namespace, with the time at which each was read.
    pub(super) fn snapshot(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError> {
        let observer = &mut self.observer;
        let found = self
            .resync
            .namespaces
            .inside(netns, || observer.snapshot())?;
        match found {
            Ok(found) => Ok(found),
            // The iterator is refused here: ask without it.
            Err(_) => self.resync.namespaces.inside(netns, || diag_dump(netns)),
        }
    }

    /// Whether a socket passes the filters of the kernel program, which a
    /// snapshot without it does not know.
    pub(super) fn wants(&self, seen: &SocketSeen) -> bool {
        let ports = &self.filters.ports;
        let has_port = |port: u16| {
            ports.is_empty()
                || ports
                    .iter()
                    .any(|[first, last]| (*first..=*last).contains(&port))
        };
        let pids = &self.filters.pids;
        (has_port(seen.local.port) || has_port(seen.peer.port))
            && (pids.is_empty()
                || seen
                    .process
                    .as_ref()
                    .is_some_and(|process| pids.contains(&process.pid)))
    }

    /// Puts the table right after a loss. `true`: it is right again.
    pub(super) fn resync(&mut self) -> Result<bool> {
        let began_ns = clock::monotonic_ns();
        let listed = self.list_all(super::owners::WAIT_FOR_ALL_AGAIN_NS);
        let mut there = HashSet::with_capacity_and_hasher(listed.len(), FixedState::default());
        let (is_complete, covered) = self.merge(listed, |_, seen| {
            there.insert((seen.is_mini(), seen.sock.cookie, seen.local, seen.peer));
            Ok(())
        })?;
        self.catch_up()?;
        let missing: Vec<Socket> = self
            .pipeline
            .engine()
            .table()
            .iter()
            .filter(|socket| covered.contains(&socket.sock.netns) && socket.since_ns < began_ns)
            // The iterator does not list sockets that are only bound.
            .filter(|socket| socket.state != State::Bound)
            .filter(|socket| {
                let cookie = socket.sock.cookie;
                !there.contains(&(socket.is_mini, cookie, socket.local, socket.peer))
            })
            .cloned()
            .collect();
        let (recent, gone): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|socket| socket.since_ns + RECENT_NS >= began_ns);
        let recent = self.gone_of_recent(recent)?;
        for socket in gone.into_iter().chain(recent) {
            let seen = closed(&socket);
            self.pipeline
                .feed(clock::monotonic_ns(), Body::Socket(seen))?;
        }
        Ok(is_complete)
    }

    /// Of sockets whose hook fired just before a snapshot that lacks them, those
    /// that are gone: each is asked for by itself.
    fn gone_of_recent(&mut self, recent: Vec<Socket>) -> Result<Vec<Socket>> {
        let mut by_netns: BTreeMap<u32, Vec<Socket>> = BTreeMap::new();
        for socket in recent {
            by_netns.entry(socket.sock.netns).or_default().push(socket);
        }
        let mut gone = Vec::new();
        for (netns, sockets) in by_netns {
            let Ok(found) = self.look_up(netns, &sockets) else {
                continue;
            };
            gone.extend(
                sockets
                    .into_iter()
                    .filter(|socket| !found.contains_key(&(socket.is_mini, socket.tuple()))),
            );
        }
        // What the hooks saw meanwhile comes first.
        self.catch_up()?;
        let table = self.pipeline.engine().table();
        gone.retain(|socket| {
            table
                .get(&socket.id())
                .is_some_and(|known| known.steps == socket.steps)
        });
        Ok(gone)
    }

    /// Feeds a socket from a snapshot, unless that is what is known already.
    pub(super) fn feed_seen(&mut self, mono_ns: u64, seen: SocketSeen) -> Result<()> {
        let seen = match self.pipeline.engine().lookup(&seen) {
            None => Some(seen),
            Some(socket) => difference(socket, Some(seen), mono_ns),
        };
        match seen {
            Some(seen) => Ok(self.pipeline.feed(mono_ns, Body::Socket(seen))?),
            None => Ok(()),
        }
    }
}

/// A namespace's sockets without the help of the kernel program.
fn diag_dump(netns: u32) -> Vec<(u64, SocketItem)> {
    let sockets = SockDiag::open(netns)
        .and_then(|mut diag| diag.dump())
        .unwrap_or_default();
    let now_ns = clock::monotonic_ns();
    sockets.into_iter().map(|socket| (now_ns, socket)).collect()
}
