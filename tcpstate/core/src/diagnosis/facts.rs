//! What the rules look at: the failed call in typed form, the sockets that
//! stand in its way, and how well both are known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::event::{
    Call, Endpoint, Errno, Family, HeldIn, Overlap, Process, Seen, SeenHolder, SeenSource, State,
};

use super::conflict::{self, Binder, BoundSocket, Memory, Verdict};
use super::roles::{Blocker, Hints, HolderRole};
use super::{CallKind, Failure, KnownHolder};

/// What was looked at, and what was not, where no process has a socket open.
const OPEN_NOWHERE: &str = "no process was found to have it open, neither among descriptors nor in an \
     io_uring: it may be on its way over a unix socket (SCM_RIGHTS), in a thread that is still \
     inside accept, or the kernel's own, which no list shows";

/// What is concluded of a process that is found by elimination.
const INSIDE_ACCEPT: &str = "which socket the thread waits on that is inside accept: its descriptor is \
     closed, and it is the only one of its kind there; one more connection lets it go on";

/// A socket of the port, not the caller's own, as the conflict rule wants it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) seen: &'a SeenHolder,
    pub(super) known: Option<&'a KnownHolder>,
    pub(super) bound: BoundSocket,
}

pub(super) struct Facts<'a> {
    pub(super) failure: &'a Failure<'a>,
    pub(super) errno: Errno,
    /// The local port that the call was about.
    pub(super) port: u16,
    /// The socket that asked; absent for `connect`.
    pub(super) binder: Option<Binder>,
    /// All other sockets that were seen on the port.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// Those that stand in the way.
    pub(super) blockers: Vec<Blocker<'a>>,
    /// Those that would, had the call not been refused before the port was
    /// looked at.
    pub(super) behind: Vec<Blocker<'a>>,
    /// Those that may, beside `blockers`.
    pub(super) possible: Vec<Blocker<'a>>,
    /// What weakens every conclusion from `blockers`.
    pub(super) doubts: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(failure: &'a Failure<'a>) -> Self {
        let call = failure.call;
        let mut facts = Self {
            failure,
            errno: call.error().unwrap_or(Errno::Other),
            port: local_port(failure),
            binder: None,
            candidates: Vec::new(),
            blockers: Vec::new(),
            behind: Vec::new(),
            possible: Vec::new(),
            doubts: Vec::new(),
        };
        facts.collect_candidates();
        match failure.kind {
            CallKind::Bind | CallKind::Listen => facts.judge_conflicts(),
            CallKind::Connect => facts.match_connections(),
        }
        facts.doubt_what_was_seen();
        facts
    }

    pub(super) fn call(&self) -> &'a Call {
        self.failure.call
    }

    pub(super) fn seen(&self) -> Option<&'a Seen> {
        self.failure.call.seen.as_ref()
    }

    /// Whom the bucket lets in without a look at its sockets. A socket that listens
    /// has bound, and that is not repeated.
    pub(super) fn memory(&self) -> Memory {
        let mut memory = self.seen().map_or_else(Memory::default, Memory::from);
        memory.admits_reuseaddr &= self.failure.kind == CallKind::Bind;
        memory
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen().is_some_and(|seen| seen.is_complete)
    }

    /// An address conflict on a port of the caller's choice.
    pub(super) fn is_port_in_use(&self) -> bool {
        self.errno == Errno::AddrInUse && self.failure.kind != CallKind::Connect && self.port != 0
    }

    /// The blocker that decides: the one that lasts longest.
    pub(super) fn lead(&self) -> Option<&Blocker<'a>> {
        if !self.is_port_in_use() {
            return None;
        }
        self.blockers
            .iter()
            .max_by_key(|blocker| (blocker.role, blocker.clears_ms(), !blocker.is_outgoing))
    }

    /// All blockers that are what the leading one is.
    pub(super) fn leaders(&self) -> Vec<&Blocker<'a>> {
        let Some(lead) = self.lead() else {
            return Vec::new();
        };
        self.blockers
            .iter()
            .filter(|blocker| blocker.role == lead.role && blocker.is_outgoing == lead.is_outgoing)
            .collect()
    }

    /// Whether the leading blocker is accepted (or no connection) and `role`.
    pub(super) fn leads(&self, role: HolderRole) -> bool {
        self.lead()
            .is_some_and(|lead| lead.role == role && !lead.is_outgoing)
    }

    /// Sockets that stand in the way.
    pub(super) fn blocker_count(&self) -> usize {
        self.blockers.iter().map(Blocker::count).sum()
    }

    /// Milliseconds until the last blocker is gone by itself.
    pub(super) fn clears_ms(&self) -> Option<u64> {
        if !self.is_complete() || self.blockers.is_empty() {
            return None;
        }
        self.blockers
            .iter()
            .chain(&self.possible)
            .map(Blocker::clears_ms)
            .try_fold(0, |last, clears| Some(last.max(clears?)))
    }

    /// `bind`, `listen` or `connect`.
    pub(super) fn verb(&self) -> &'static str {
        match self.failure.kind {
            CallKind::Bind => "bind",
            CallKind::Listen => "listen",
            CallKind::Connect => "connect",
        }
    }

    /// What an option does: `would have`, and beforehand `would`.
    pub(super) fn would_have(&self) -> &'static str {
        if self.failure.is_question {
            "would"
        } else {
            "would have"
        }
    }

    /// `the bind would have worked`, and beforehand `the bind would work`.
    pub(super) fn would_have_worked(&self) -> &'static str {
        if self.failure.is_question {
            "the bind would work"
        } else {
            "the bind would have worked"
        }
    }

    /// Every socket that was seen on the port.
    pub(super) fn all_as_blockers(&self) -> Vec<Blocker<'a>> {
        let hints = self.hints();
        self.candidates
            .iter()
            .map(|candidate| {
                let overlap = self.binder.map_or(Overlap::Wildcard, |binder| {
                    conflict::overlap(&binder, &candidate.bound)
                });
                Blocker::new(candidate.seen, candidate.known, overlap, hints)
            })
            .collect()
    }

    /// Doubts of the leading blockers and of the whole picture.
    pub(super) fn all_doubts(&self) -> Vec<String> {
        let mut doubts = self.doubts.clone();
        for doubt in self
            .leaders()
            .iter()
            .filter_map(|blocker| blocker.doubt.clone())
        {
            if !doubts.contains(&doubt) {
                doubts.push(doubt);
            }
        }
        if self.leaders().iter().any(|blocker| blocker.is_unowned()) {
            doubts.push(OPEN_NOWHERE.to_owned());
        }
        let is_inside_accept = |process: &Arc<Process>| process.held_in == Some(HeldIn::Accept);
        if self.leaders().iter().any(|blocker| {
            let processes = blocker.seen.processes.as_deref().unwrap_or_default();
            processes.iter().any(is_inside_accept)
        }) {
            doubts.push(INSIDE_ACCEPT.to_owned());
        }
        doubts
    }

    fn collect_candidates(&mut self) {
        let Some(seen) = self.seen() else {
            return;
        };
        let own = self.own_socket(seen);
        self.candidates = seen
            .holders
            .iter()
            .enumerate()
            .filter(|&(index, _)| Some(index) != own)
            .map(|(index, seen)| {
                let known = self.failure.known.get(index);
                let bound = BoundSocket::from(seen);
                Candidate { seen, known, bound }
            })
            .collect();
    }

    /// The caller's socket, which is among the holders when `listen` fails.
    fn own_socket(&mut self, seen: &Seen) -> Option<usize> {
        let call = self.call();
        let is_listed = |holder: &SeenHolder| {
            call.sock.is_some_and(|sock| {
                sock.known_cookie().is_some()
                    && sock.cookie == holder.sock.cookie
                    && sock.netns == holder.sock.netns
            })
        };
        if let Some(own) = seen.holders.iter().position(is_listed) {
            return Some(own);
        }
        if self.failure.kind != CallKind::Listen {
            return None;
        }
        let own = seen.holders.iter().position(|holder| {
            matches!(holder.state, State::Bound | State::Closed)
                && !holder.is_mini
                && Some(holder.local) == call.local
                && holder.reuse == Some(call.reuse)
        });
        if own.is_some() {
            self.doubts.push(
                "which of the bound sockets is the caller's own was not read: one of them was \
                 taken for it"
                    .to_owned(),
            );
        }
        own
    }

    fn judge_conflicts(&mut self) {
        let call = self.call();
        let addr = match self.failure.kind {
            CallKind::Listen => call.local.map(|local| local.addr).or(call.requested.addr),
            _ => call.requested.addr,
        };
        let family = call.sock.map(|sock| sock.family);
        let binder = Binder {
            family: family.unwrap_or(match addr {
                Some(IpAddr::V6(_)) => Family::Ipv6,
                _ => Family::Ipv4,
            }),
            addr: addr.unwrap_or(match family {
                Some(Family::Ipv6) => Ipv6Addr::UNSPECIFIED.into(),
                _ => Ipv4Addr::UNSPECIFIED.into(),
            }),
            reuse: call.reuse,
            // Whoever opened the socket, which need not be the caller.
            uid: Some(call.uid.unwrap_or(call.process.uid)),
            device: call.bound_dev_if.filter(|&index| index != 0),
        };
        self.binder = Some(binder);
        if self.errno == Errno::Acces {
            self.behind = self.conflicts(&binder, Verdict::Conflict);
        }
        if !self.is_port_in_use() {
            return;
        }
        if addr.is_none() && !self.candidates.is_empty() {
            self.doubts.push(
                "the requested address could not be read: every address was assumed".to_owned(),
            );
        }
        self.blockers = self.conflicts(&binder, Verdict::Conflict);
        self.possible = self.conflicts(&binder, Verdict::Unknown);
        if self.possible.is_empty() {
            return;
        }
        if self.blockers.is_empty() {
            std::mem::swap(&mut self.blockers, &mut self.possible);
            self.doubts.push(
                "the options or the user of the sockets on the port could not be read, so \
                 whether they stood in the way is not proven"
                    .to_owned(),
            );
        } else {
            self.doubts.push(format!(
                "whether {} of the sockets on the port stood in the way too depends on options \
                 or a user that could not be read",
                self.possible.len()
            ));
        }
    }

    /// The sockets that have this verdict.
    fn conflicts(&self, binder: &Binder, verdict: Verdict) -> Vec<Blocker<'a>> {
        let hints = self.hints();
        self.candidates
            .iter()
            .filter(|candidate| conflict::verdict(binder, &candidate.bound) == verdict)
            .map(|candidate| {
                let overlap = conflict::overlap(binder, &candidate.bound);
                Blocker::new(candidate.seen, candidate.known, overlap, hints)
            })
            .collect()
    }

    /// For `connect` from a fixed port: connections between the same ends.
    fn match_connections(&mut self) {
        let call = self.call();
        let (Some(local), Some(peer)) = (call.local, call.requested.addr) else {
            return;
        };
        if local.port == 0 || !matches!(self.errno, Errno::AddrNotAvail | Errno::AddrInUse) {
            return;
        }
        let peer = Endpoint {
            addr: peer,
            port: call.requested.port,
        };
        let hints = self.hints();
        let is_same = |seen: &SeenHolder| {
            let is_local = local.addr.is_unspecified()
                || local.addr.to_canonical() == seen.local.addr.to_canonical();
            // A socket whose connection has ended keeps the peer's address.
            let is_connected = !matches!(seen.state, State::Bound | State::Closed | State::Listen);
            is_connected
                && is_local
                && local.port == seen.local.port
                && peer.port == seen.peer.port
                && peer.addr.to_canonical() == seen.peer.addr.to_canonical()
        };
        self.blockers = self
            .candidates
            .iter()
            .filter(|candidate| is_same(candidate.seen))
            .map(|c| Blocker::new(c.seen, c.known, Overlap::Exact, hints))
            .collect();
    }

    fn doubt_what_was_seen(&mut self) {
        let Some(seen) = self.seen().filter(|_| !self.blockers.is_empty()) else {
            return;
        };
        if seen.source == SeenSource::Snapshot && !self.failure.is_question {
            self.doubts.push(
                "the sockets on the port were read shortly after the call, not inside it"
                    .to_owned(),
            );
        }
        if !seen.is_complete {
            self.doubts.push(format!(
                "only {} of the sockets on the port could be looked at; others may stand in the \
                 way too",
                seen.visited
            ));
        }
    }

    fn hints(&self) -> Hints {
        Hints {
            local_port_range: self.failure.environment.local_port_range,
            has_listener_history: self.failure.last_listener.is_some(),
        }
    }
}

fn local_port(failure: &Failure<'_>) -> u16 {
    let local = failure.call.local.map_or(0, |local| local.port);
    match failure.kind {
        CallKind::Bind => failure.call.requested.port,
        CallKind::Listen if local == 0 => failure.call.requested.port,
        CallKind::Listen | CallKind::Connect => local,
    }
}
