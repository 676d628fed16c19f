//! Which socket a fact is about.
//!
//! A cookie names a socket for its whole life, and its TIME_WAIT after it. It
//! does not tell the two apart when the same socket begins another life while
//! the TIME_WAIT of its first one is still there. On kernels before 5.15 a
//! socket has none until somebody asks for it; addresses alone name it there.

use std::num::NonZeroU64;

use super::Engine;
use crate::event::{
    Endpoint, ExitReason, Seen, SeenHolder, Sock, SocketSeen, Source, State, StateChange,
};
use crate::model::{PortKey, Socket, SocketId, Tuple};

impl Engine {
    /// The socket that a snapshot found, or found gone.
    pub(super) fn id_of_seen(&mut self, mono_ns: u64, seen: &SocketSeen) -> SocketId {
        let is_mini = seen.is_mini();
        self.learn_cookie(&seen.sock, seen.local, seen.peer, is_mini);
        let plain = SocketId::of(&seen.sock, seen.local, seen.peer);
        if is_mini {
            return self.id_of_seen_mini(mono_ns, seen, plain);
        }
        let tuple = tuple(&seen.sock, seen.local, seen.peer);
        if let Some(known) = self.table.get(&plain)
            && known.is_mini
        {
            let is_its_end = seen.state == State::Closed && known.tuple() == tuple;
            if !is_its_end {
                self.set_mini_aside(plain);
            }
        }
        plain
    }

    fn id_of_seen_mini(&mut self, mono_ns: u64, seen: &SocketSeen, plain: SocketId) -> SocketId {
        let tuple = tuple(&seen.sock, seen.local, seen.peer);
        if let Some(there) = self.table.mini_at(&tuple) {
            let cookie = self.table.get(&there).map_or(0, |known| known.sock.cookie);
            if cookie == seen.sock.cookie || seen.sock.known_cookie().is_none() {
                return there;
            }
            if seen.state == State::Closed {
                let is_it = |known: &Socket| known.is_mini && known.tuple() == tuple;
                return match self.table.get(&plain) {
                    Some(known) if is_it(known) => plain,
                    _ => SocketId::PastLife(tuple),
                };
            }
            // Another one has its place: there was a connection in between.
            self.end_mini(mono_ns, there, ExitReason::Reused, Source::Inferred);
        }
        match self.table.get(&plain) {
            None => plain,
            // It became one, and that was not seen.
            Some(known) if !known.is_mini && known.tuple() == tuple => plain,
            Some(_) => SocketId::PastLife(tuple),
        }
    }

    /// The socket that a snapshot found, as it is known so far.
    #[must_use]
    pub fn lookup(&self, seen: &SocketSeen) -> Option<&Socket> {
        let tuple = tuple(&seen.sock, seen.local, seen.peer);
        let is_it = |known: &&Socket| {
            known.is_mini == seen.is_mini()
                && (known.sock.cookie == seen.sock.cookie
                    || known.sock.known_cookie().is_none()
                    || seen.sock.known_cookie().is_none())
        };
        let by_mini = || {
            self.table
                .mini_at(&tuple)
                .and_then(|id| self.table.get(&id))
        };
        let by_tuple = || self.table.get(&SocketId::Tuple(tuple));
        self.table
            .get(&SocketId::of(&seen.sock, seen.local, seen.peer))
            .filter(is_it)
            .filter(|known| !known.is_mini || known.tuple() == tuple)
            .or_else(|| by_mini().filter(is_it))
            .or_else(|| by_tuple().filter(is_it))
    }

    /// The socket that a transition is about. `None`: it says nothing about
    /// any socket's present state.
    ///
    /// - LISTEN -> SYN_RECV carries the listener's identity up to Linux 6.17;
    ///   the connection is known from SYN_RECV -> ESTABLISHED on.
    /// - What is older than the last known transition came late: records of
    ///   different processors need not come in order.
    /// - Without cookie and port nothing names the socket yet.
    pub(super) fn id_of_change(&mut self, mono_ns: u64, change: &StateChange) -> Option<SocketId> {
        let is_birth_of_child = change.old == State::Listen && change.new == State::SynReceived;
        let is_nameless = change.sock.known_cookie().is_none() && !change.local.has_port();
        if is_nameless || (is_birth_of_child && self.has_listeners_identity(change)) {
            return None;
        }
        let id = SocketId::of(&change.sock, change.local, change.peer);
        // One whose life begins here is not the nameless one that is there already.
        if self.table.get(&id).is_none() && change.old != State::Closed {
            self.learn_cookie(&change.sock, change.local, change.peer, false);
        }
        match self.table.get(&id) {
            // The last transition knows more of the mini-socket than the list.
            Some(known) if known.is_mini && is_before(mono_ns, change, known) => {
                return change.mini.map(|_| id);
            }
            Some(known) if known.is_late(mono_ns, change) => return None,
            Some(known) if known.is_mini => self.set_mini_aside(id),
            None if self.came_after_its_end(mono_ns, &id, change) => return None,
            Some(_) | None => {}
        }
        Some(id)
    }

    fn has_listeners_identity(&self, change: &StateChange) -> bool {
        let id = SocketId::of(&change.sock, change.local, change.peer);
        let is_listener = |known: &Socket| known.state == State::Listen;
        !change.peer.has_port() || self.table.get(&id).is_some_and(is_listener)
    }

    fn came_after_its_end(&self, mono_ns: u64, id: &SocketId, change: &StateChange) -> bool {
        !is_birth(change.old)
            && self
                .table
                .get_closed(id)
                .is_some_and(|known| mono_ns < known.changed_ns)
    }

    /// The connection that an `accept` or an RST is about.
    pub(super) fn id_of_connection(
        &mut self,
        sock: &Sock,
        local: Endpoint,
        peer: Endpoint,
    ) -> SocketId {
        // Of a connection there is one at a time, listeners may be several.
        if peer.has_port() {
            self.learn_cookie(sock, local, peer, false);
        }
        SocketId::of(sock, local, peer)
    }

    /// Learns the cookies of what stood in the way of a call.
    pub(super) fn learn_cookies_seen(&mut self, seen: &Seen) {
        for holder in &seen.holders {
            if is_alone(holder, seen) && holder.state != State::Bound {
                self.learn_cookie(&holder.sock, holder.local, holder.peer, holder.is_mini);
            }
        }
    }

    /// A socket that had no cookie when it was seen first has one now: all that is
    /// known of it goes on under the new name.
    fn learn_cookie(&mut self, sock: &Sock, local: Endpoint, peer: Endpoint, is_mini: bool) {
        if sock.known_cookie().is_none() || self.table.get(&SocketId::Cookie(sock.cookie)).is_some()
        {
            return;
        }
        let nameless = SocketId::Tuple(tuple(sock, local, peer));
        if self
            .table
            .get(&nameless)
            .is_some_and(|known| known.is_mini == is_mini)
        {
            let at_ns = self
                .table
                .get(&nameless)
                .and_then(|known| known.next_poll_ns);
            let named = SocketId::Cookie(sock.cookie);
            self.checks.cancel(at_ns, nameless);
            self.table.name(&nameless, sock.cookie);
            if let Some(at_ns) = at_ns {
                self.schedule_check(named, at_ns.get());
            }
            let key = PortKey {
                port: local.port,
                netns: sock.netns,
            };
            self.rename_listener(key, nameless, named);
            self.fallbacks.rename(nameless, named);
        }
    }

    fn set_mini_aside(&mut self, id: SocketId) {
        let Some(at_ns) = self.table.get(&id).map(|mini| mini.next_poll_ns) else {
            return;
        };
        self.checks.cancel(at_ns, id);
        if let Some(set_aside) = self.table.set_aside(&id) {
            self.schedule_check(set_aside, at_ns.map_or(0, NonZeroU64::get));
        }
    }
}

/// Whether a transition belongs to the life that a mini-socket is left of: a list
/// of the kernel's sockets can be faster than the records of the hooks.
fn is_before(mono_ns: u64, change: &StateChange, mini: &Socket) -> bool {
    mono_ns < mini.since_ns
        && mini.peer == change.peer
        && (!change.local.has_port() || mini.local == change.local)
}

impl Socket {
    /// Whether a transition is older than the last one known. The first ones of
    /// another life do not come late for a mini-socket of the one before.
    fn is_late(&self, mono_ns: u64, change: &StateChange) -> bool {
        mono_ns < self.changed_ns && !(self.is_mini && is_birth(change.old))
    }
}

/// States that a socket's life begins in.
fn is_birth(old: State) -> bool {
    matches!(old, State::Closed | State::Listen | State::SynReceived)
}

fn tuple(sock: &Sock, local: Endpoint, peer: Endpoint) -> Tuple {
    Tuple {
        netns: sock.netns,
        local,
        peer,
    }
}

/// Whether no other socket on the port has its addresses: of a connection there is one at
/// a time, listeners may be several.
fn is_alone(holder: &SeenHolder, seen: &Seen) -> bool {
    let is_like = |other: &&SeenHolder| other.local == holder.local && !other.peer.has_port();
    holder.peer.has_port() || (seen.is_complete && seen.holders.iter().filter(is_like).count() == 1)
}
