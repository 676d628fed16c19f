//! The sockets that outlive the program: a duplicate of each listening socket on a port to
//! keep, with its queue, for the program's next start.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;

use crate::supervise::socket::{self, Address, Nature};
use crate::supervise::tree;

/// Sockets that are kept at one time.
const MAX_KEPT: usize = 256;
/// Bound sockets of which it is not known yet whether they will listen.
const MAX_BOUND: usize = 1024;
/// A socket that is called to listen does so within this time, or not at all.
const LISTENS_WITHIN_NS: u64 = 1_000_000_000;

/// What a socket was bound to, and what it was then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundSocket {
    pub(super) address: Address,
    pub(super) nature: Nature,
}

/// A kept socket.
#[derive(Debug)]
pub(super) struct KeptSocket {
    pub(super) socket: OwnedFd,
    pub(super) cookie: u64,
    inode: u64,
    bound: BoundSocket,
    /// The start of the program that has it.
    start: u64,
    since_ns: u64,
    /// Since when no process of the program has it open.
    unheld_since_ns: Option<u64>,
}

/// What becomes of a bind on a port to keep.
#[derive(Debug)]
pub(super) enum Match {
    /// The kept socket at this position is what is asked for.
    Same(usize),
    /// None is.
    Other,
}

/// All of them, in the order in which they listened.
#[derive(Debug)]
pub(in crate::commands) struct KeptSockets {
    ports: Vec<u16>,
    keep_for: Duration,
    bound: BTreeMap<u64, BoundSocket>,
    kept: Vec<KeptSocket>,
    /// Starts of the program so far.
    start: u64,
    checked_ns: u64,
}

impl KeptSockets {
    pub(in crate::commands) fn new(ports: &[u16], keep_for: Duration) -> Self {
        Self {
            ports: ports.to_vec(),
            keep_for,
            bound: BTreeMap::new(),
            kept: Vec::new(),
            start: 0,
            checked_ns: 0,
        }
    }

    pub(super) fn is_for(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// The program is started again: what it had may be asked for anew.
    pub(super) fn begin_start(&mut self) {
        self.start += 1;
        self.bound.clear();
    }

    /// A socket was bound; it may listen later.
    pub(super) fn note_bound(&mut self, cookie: u64, bound: BoundSocket) {
        if self.bound.len() < MAX_BOUND {
            self.bound.insert(cookie, bound);
        }
    }

    /// The kept socket that is what `bound` asks for: the first that nobody of this start of
    /// the program has.
    pub(super) fn find(&mut self, wanted: &BoundSocket) -> Match {
        let port = wanted.address.endpoint.port;
        let mut held: Option<BTreeSet<u64>> = None;
        let start = self.start;
        let position = self.kept.iter().position(|kept| {
            kept.bound.address.is_like(&wanted.address)
                && kept.bound.nature == wanted.nature
                && socket::is_listening(&kept.socket)
                && (kept.start < start
                    || !held
                        .get_or_insert_with(tree::open_sockets)
                        .contains(&kept.inode))
        });
        debug_assert!(self.is_for(port));
        position.map_or(Match::Other, Match::Same)
    }

    /// The kept socket at a position.
    pub(super) fn at(&self, position: usize) -> Option<&KeptSocket> {
        self.kept.get(position)
    }

    /// It is the program's again. To the end: of several alike the next one is next.
    pub(super) fn take(&mut self, position: usize) {
        let start = self.start;
        if let Some(kept) = self.kept.get_mut(position) {
            kept.start = start;
            kept.unheld_since_ns = None;
        }
    }

    /// Closes what cannot be put in place.
    pub(super) fn forget(&mut self, position: usize) {
        if position < self.kept.len() {
            self.kept.remove(position);
        }
    }

    /// Closes the kept sockets of a port that nobody of the program has: they are in the way
    /// of one that asks for something else. How many there were.
    pub(super) fn clear_port(&mut self, port: u16) -> usize {
        let before = self.kept.len();
        if !self.kept.iter().any(|kept| kept.is_on(port)) {
            return 0;
        }
        let held = tree::open_sockets();
        self.kept
            .retain(|kept| !kept.is_on(port) || held.contains(&kept.inode));
        before - self.kept.len()
    }

    /// The program is about to listen with this socket. `false`: it cannot be kept.
    pub(super) fn listens(&mut self, socket: OwnedFd, now_ns: u64) -> bool {
        let cookie = sockopt::socket_cookie(&socket).unwrap_or(0);
        if self.kept.iter().any(|kept| kept.cookie == cookie) {
            return true;
        }
        let (Some(bound), Some((inode, _))) = (self.bound.remove(&cookie), socket::file(&socket))
        else {
            return false;
        };
        if self.kept.len() >= MAX_KEPT {
            return false;
        }
        self.kept.push(KeptSocket {
            socket,
            cookie,
            inode,
            bound,
            start: self.start,
            since_ns: now_ns,
            unheld_since_ns: None,
        });
        true
    }

    /// Closes what nobody accepts from any more; gives their addresses. `is_running`: the
    /// program is.
    pub(super) fn check(&mut self, now_ns: u64, is_running: bool) -> Vec<String> {
        let keep_ns = u64::try_from(self.keep_for.as_nanos()).unwrap_or(u64::MAX);
        let every_ns = (keep_ns / 10).clamp(50_000_000, 2_000_000_000);
        if self.kept.is_empty() || now_ns < self.checked_ns.saturating_add(every_ns) {
            return Vec::new();
        }
        self.checked_ns = now_ns;
        let held = tree::open_sockets();
        for kept in &mut self.kept {
            let is_held = is_running && held.contains(&kept.inode);
            kept.unheld_since_ns = match kept.unheld_since_ns {
                _ if is_held => None,
                None => Some(now_ns),
                since => since,
            };
        }
        let mut closed = Vec::new();
        self.kept.retain(|kept| {
            let is_over = kept
                .unheld_since_ns
                .is_some_and(|since_ns| now_ns >= since_ns.saturating_add(keep_ns));
            if is_over {
                closed.push(kept.bound.address.endpoint.to_string());
            }
            // One that was shut down, or never came to listen, is of no use.
            let is_young = now_ns < kept.since_ns.saturating_add(LISTENS_WITHIN_NS);
            !is_over && (is_young || socket::is_listening(&kept.socket))
        });
        closed
    }

    /// Whether there is anything to check.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl KeptSocket {
    fn is_on(&self, port: u16) -> bool {
        self.bound.address.endpoint.port == port
    }
}
