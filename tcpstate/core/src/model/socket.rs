//! One socket and its history.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::event::{Endpoint, Process, Reuse, Sock, State};

/// What a socket is known by: its cookie, or, where the kernel gave it none,
/// its namespace and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketId {
    /// The kernel's socket cookie.
    Cookie(u64),
    /// Namespace, local and peer address.
    Tuple(Tuple),
    /// A mini-socket whose cookie its socket has taken on into another life: it
    /// was disconnected and connects or listens again, or is still bound.
    PastLife(Tuple),
}

impl SocketId {
    /// The identity of this socket at these addresses.
    #[must_use]
    pub fn of(sock: &Sock, local: Endpoint, peer: Endpoint) -> Self {
        match sock.known_cookie() {
            Some(cookie) => Self::Cookie(cookie),
            None => Self::Tuple(Tuple {
                netns: sock.netns,
                local,
                peer,
            }),
        }
    }
}

/// A connection's addresses in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Local address.
    pub local: Endpoint,
    /// Peer address.
    pub peer: Endpoint,
}

/// Which way a connection came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Accepted through a listening socket.
    Accepted,
    /// Opened by `connect`.
    Outgoing,
    /// Opened by `connect` from a port that was asked for with `bind`.
    OutgoingFromFixedPort,
    /// Not a connection: it listens.
    Listener,
    /// Not known: it was there before we were.
    #[default]
    Unknown,
}

/// A socket entered a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, on the monotonic clock.
    pub mono_ns: u64,
    /// The event that showed it.
    pub seq: u64,
    /// The state entered.
    pub state: State,
}

/// Steps that one socket remembers. A TCP connection has at most eight
/// transitions; re-armed TIME_WAITs and snapshots add a few.
pub const MAX_STEPS: usize = 16;

/// A socket and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    /// The kernel's names for it.
    pub sock: Sock,
    /// Local address.
    pub local: Endpoint,
    /// Peer address; port 0: no peer.
    pub peer: Endpoint,
    /// Its state now.
    pub state: State,
    /// A kernel mini-socket: TIME_WAIT, or an orphan in FIN_WAIT_2. It has no
    /// descriptor, no owner, and a timer.
    pub is_mini: bool,
    /// When it entered the state; for a socket from a snapshot, when it was
    /// first seen in it (a lower bound of its age).
    pub since_ns: u64,
    /// When it was first seen.
    pub first_seen_ns: u64,
    /// It was there before we were: `since_ns` is not its birth.
    pub is_from_snapshot: bool,
    /// Its options, where they are known.
    pub reuse: Option<Reuse>,
    /// The process that it belongs to, or belonged to.
    pub owner: Option<Arc<Process>>,
    /// The process that closed first, when this side did.
    pub left_by: Option<Arc<Process>>,
    /// Which way it came about.
    pub origin: Origin,
    /// When a mini-socket's timer ends.
    pub expires_at_ns: Option<u64>,
    /// When a connect from its addresses to its peer began, if one did.
    pub(crate) challenged_ns: Option<NonZeroU64>,
    /// When a hook last showed it change.
    pub(crate) changed_ns: u64,
    /// Another one has its cookie now; see [`SocketId::PastLife`].
    pub(crate) is_past_life: bool,
    /// When the kernel is to be asked next whether it is still there.
    pub(crate) next_poll_ns: Option<NonZeroU64>,
    /// The steps of its life, oldest first, at most [`MAX_STEPS`].
    pub steps: Vec<Step>,
}

impl Socket {
    /// Enters a state.
    pub(crate) fn enter(&mut self, state: State, mono_ns: u64, seq: u64) {
        if self.state != state || self.steps.is_empty() {
            self.since_ns = mono_ns;
        }
        self.state = state;
        if self.steps.len() == MAX_STEPS {
            self.steps.remove(1);
        }
        self.steps.push(Step {
            mono_ns,
            seq,
            state,
        });
    }

    /// Its namespace and addresses.
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        Tuple {
            netns: self.sock.netns,
            local: self.local,
            peer: self.peer,
        }
    }

    /// Whether a hook or a snapshot has shown it change from this time on.
    #[must_use]
    pub fn has_changed_since(&self, mono_ns: u64) -> bool {
        self.changed_ns.max(self.since_ns) >= mono_ns
    }

    /// What it is known by.
    #[must_use]
    pub fn id(&self) -> SocketId {
        if self.is_past_life {
            return SocketId::PastLife(self.tuple());
        }
        SocketId::of(&self.sock, self.local, self.peer)
    }

    /// Nanoseconds until the mini-socket's timer ends; 0: overdue.
    #[must_use]
    pub fn remaining_ns(&self, now_ns: u64) -> Option<u64> {
        self.expires_at_ns.map(|at| at.saturating_sub(now_ns))
    }

    /// Positions of the events that show its life.
    #[must_use]
    pub fn evidence(&self) -> Vec<u64> {
        let mut seqs: Vec<u64> = self.steps.iter().map(|step| step.seq).collect();
        seqs.dedup();
        seqs
    }
}
