//! Looks into the kernel's tables while a run goes on: mini-sockets that are
//! due, and the whole table after a loss.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;

use super::Live;
use super::departed::Departed;
use super::namespaces::Sweep;
use crate::clock;
use crate::event::{Body, NetnsEnd, SocketSeen, Source, State};
use crate::model::{NS_PER_MS, Socket, SocketId, Tuple};
use crate::snapshot::netns::{Namespaces, NetnsError};
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, owners, proc};

/// Up to here each due mini-socket is looked up by itself; above, one pass
/// over the namespace's table costs less.
const SINGLE_LOOKUPS: usize = 128;
/// Mini-sockets that one look takes on.
const MAX_DUE: usize = 1 << 20;
/// A look that took this long is followed by twenty times as long without one:
/// looking costs at most a twentieth of a processor.
const REST_FACTOR: u64 = 20;
/// A timer that the kernel has set anew differs by more than our rounding.
const REARMED_MS: u64 = 1_000;
/// A hook that fired this shortly before a snapshot outranks it.
pub(super) const RECENT_NS: u64 = 10_000_000;
/// A mini-socket in a namespace that cannot be found any more is given up this
/// long after its time.
const GIVE_UP_NS: u64 = 5_000_000_000;

/// What is there: mini-sockets and others, by their addresses.
type Found = HashMap<(bool, Tuple), SocketSeen, foldhash::fast::FixedState>;

/// Looks into the kernel's tables.
#[derive(Debug, Default)]
pub(in crate::commands) struct Looks {
    pub(super) namespaces: Namespaces,
    pub(super) sweep: Sweep,
    pub(super) departed: Departed,
    /// How long the kernel took for its last whole list.
    pub(super) listing_ns: u64,
    looked_ns: u64,
    rest_until_ns: u64,
}

impl Looks {
    pub(super) fn is_due(&self, now_ns: u64, every_ns: u64) -> bool {
        now_ns >= self.rest_until_ns && now_ns.saturating_sub(self.looked_ns) >= every_ns
    }
}

impl Live {
    /// Looks up the mini-sockets that are due, and feeds what has changed.
    pub(super) fn look(&mut self, now_ns: u64) -> Result<()> {
        self.looks.looked_ns = now_ns;
        let due = self.pipeline.engine_mut().take_due_checks(now_ns, MAX_DUE);
        let mut by_netns: BTreeMap<u32, Vec<SocketId>> = BTreeMap::new();
        for id in due {
            if let Some(socket) = self.pipeline.engine().table().get(&id) {
                by_netns.entry(socket.sock.netns).or_default().push(id);
            }
        }
        for (netns, ids) in by_netns {
            let began_ns = clock::monotonic_ns();
            let found = if ids.len() <= SINGLE_LOOKUPS {
                let table = self.pipeline.engine().table();
                let sockets: Vec<Socket> =
                    ids.iter().filter_map(|id| table.get(id).cloned()).collect();
                self.look_up(netns, &sockets)
            } else {
                self.find_minis(netns)
            };
            let asked_ns = clock::monotonic_ns();
            // What the hooks saw meanwhile comes first.
            while self.drain()? {}
            for id in ids {
                let Some(socket) = self.pipeline.engine().table().get(&id) else {
                    continue;
                };
                if socket.has_changed_since(began_ns) {
                    continue;
                }
                let now_there = match &found {
                    Ok(found) => found.get(&(true, socket.tuple())).cloned(),
                    Err(())
                        if socket
                            .expires_at_ns
                            .is_some_and(|at| at + GIVE_UP_NS < asked_ns) =>
                    {
                        Some(SocketSeen {
                            netns_ended: Some(NetnsEnd::Unreachable),
                            ..closed(socket)
                        })
                    }
                    Err(()) => continue,
                };
                if let Some(seen) = difference(socket, now_there, asked_ns) {
                    self.pipeline.feed(asked_ns, Body::Socket(seen))?;
                }
            }
        }
        let cost_ns = clock::monotonic_ns().saturating_sub(now_ns);
        self.looks.rest_until_ns = now_ns + cost_ns * REST_FACTOR;
        Ok(())
    }

    /// Each socket by itself. `Err`: the kernel could not be asked.
    pub(super) fn look_up(&mut self, netns: u32, sockets: &[Socket]) -> Result<Found, ()> {
        let looked = self.looks.namespaces.inside(netns, || {
            let mut diag = SockDiag::open(netns)?;
            let mut found = Found::default();
            for socket in sockets {
                if let Some(there) = diag.lookup(
                    socket.sock.family,
                    socket.local,
                    socket.peer,
                    socket.sock.cookie,
                )? {
                    found.insert((there.is_mini, socket.tuple()), there.to_seen(None));
                }
            }
            Ok::<_, crate::snapshot::sock_diag::DiagError>(found)
        });
        match looked {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// All mini-sockets of a namespace.
    fn find_minis(&mut self, netns: u32) -> Result<Found, ()> {
        let found = self.snapshot(netns).map_err(|_| ())?;
        Ok(found
            .into_iter()
            .filter(|(_, item)| item.is_mini)
            .map(|(_, item)| ((item.is_mini, item.tuple()), item.to_seen(None)))
            .collect())
    }

    /// All sockets of a namespace, with the time at which each was read.
    pub(super) fn snapshot(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError> {
        let observer = &mut self.observer;
        let found = self
            .looks
            .namespaces
            .inside(netns, || observer.snapshot())?;
        match found {
            Ok(found) => Ok(found),
            // The iterator is refused here: ask without it.
            Err(_) => self.looks.namespaces.inside(netns, || diag_dump(netns)),
        }
    }

    /// All sockets of all namespaces that the run is about, with the process
    /// that holds each; `false`: not all could be read.
    pub(super) fn snapshot_all(&mut self) -> (BTreeSet<u32>, Vec<(u64, SocketSeen)>, bool) {
        let namespaces: BTreeSet<u32> = match self.filters.netns {
            Some(netns) => BTreeSet::from([netns]),
            None => self.looks.namespaces.all(),
        };
        let mut items = Vec::new();
        let mut covered = BTreeSet::new();
        let began_ns = clock::monotonic_ns();
        for netns in namespaces.iter().copied() {
            if let Ok(found) = self.snapshot(netns) {
                items.extend(found);
                covered.insert(netns);
            }
        }
        self.looks.listing_ns = clock::monotonic_ns().saturating_sub(began_ns);
        let by_inode = if proc::has_numbers_of_the_host() {
            owners::first_holders()
        } else {
            BTreeMap::new()
        };
        let sockets = items
            .into_iter()
            .map(|(mono_ns, item)| {
                (
                    mono_ns,
                    item.to_seen(item.inode.and_then(|inode| by_inode.get(&inode).cloned())),
                )
            })
            .filter(|(_, seen)| self.wants(seen))
            .collect();
        let is_complete = covered == namespaces;
        (covered, sockets, is_complete)
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
        let (covered, sockets, is_complete) = self.snapshot_all();
        // What the hooks saw meanwhile comes first.
        while self.drain()? {}
        let mut there = BTreeSet::new();
        for (mono_ns, seen) in sockets {
            there.insert((seen.is_mini(), seen.sock.cookie, seen.local, seen.peer));
            self.feed_seen(mono_ns, seen)?;
        }
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
        while self.drain()? {}
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

/// What a look found, if it differs from what is known.
pub(super) fn difference(
    known: &Socket,
    now_there: Option<SocketSeen>,
    asked_ns: u64,
) -> Option<SocketSeen> {
    let Some(seen) = now_there else {
        return Some(closed(known));
    };
    let expected_ms = known.remaining_ns(asked_ns).map(|ns| ns / NS_PER_MS);
    let is_rearmed = match (expected_ms, seen.expires_ms) {
        (Some(expected), Some(left)) => left.abs_diff(expected) > REARMED_MS,
        (None, None) => false,
        _ => true,
    };
    let is_elsewhere = (seen.local, seen.peer) != (known.local, known.peer);
    (seen.state != known.state || is_rearmed || is_elsewhere).then_some(seen)
}

pub(super) fn closed(socket: &Socket) -> SocketSeen {
    SocketSeen {
        sock: socket.sock,
        local: socket.local,
        peer: socket.peer,
        state: State::Closed,
        process: None,
        reuse: None,
        // So that it is told from a socket with the same cookie.
        expires_ms: socket.is_mini.then_some(0),
        processes: None,
        netns_ended: None,
        ended: None,
        source: Source::Snapshot,
    }
}
