//! The mirror of the kernel's TCP sockets.

use std::collections::VecDeque;

use foldhash::fast::FixedState;

use super::socket::{Socket, SocketId, Tuple};
use crate::event::State;

/// A map whose order of iteration does not depend on the run.
#[expect(
    clippy::disallowed_types,
    reason = "this hasher is the same in each run"
)]
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, FixedState>;

/// Closed sockets that are remembered.
pub const MAX_CLOSED: usize = 512;

/// The mirror of the kernel's TCP sockets.
#[derive(Clone, Debug)]
pub struct SocketTable {
    sockets: Map<SocketId, Box<Socket>>,
    minis: Map<Tuple, SocketId>,
    closed: VecDeque<Socket>,
    counts: [u32; State::ALL.len()],
    limit: usize,
    refused: u64,
}

impl SocketTable {
    /// An empty table that holds at most `limit` sockets.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            sockets: Map::default(),
            minis: Map::default(),
            closed: VecDeque::new(),
            counts: [0; State::ALL.len()],
            limit,
            refused: 0,
        }
    }

    /// The socket.
    #[must_use]
    pub fn get(&self, id: &SocketId) -> Option<&Socket> {
        self.sockets.get(id).map(Box::as_ref)
    }

    /// The socket, or the latest closed one that was known by this.
    #[must_use]
    pub fn get_or_closed(&self, id: &SocketId) -> Option<&Socket> {
        self.get(id).or_else(|| self.get_closed(id))
    }

    /// The latest closed socket that was known by this.
    pub(crate) fn get_closed(&self, id: &SocketId) -> Option<&Socket> {
        self.closed.iter().rev().find(|socket| socket.id() == *id)
    }

    /// Number of sockets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// All sockets, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.values().map(Box::as_ref)
    }

    /// Those of a network namespace, likewise.
    pub fn in_netns(&self, netns: u32) -> impl Iterator<Item = &Socket> {
        self.iter().filter(move |it| it.sock.netns == netns)
    }

    /// What all sockets are known by, in no particular order; does not look at
    /// the sockets themselves.
    pub fn ids(&self) -> impl Iterator<Item = SocketId> {
        self.sockets.keys().copied()
    }

    /// Sockets that closed lately, oldest first.
    #[must_use]
    pub fn closed(&self) -> impl DoubleEndedIterator<Item = &Socket> {
        self.closed.iter()
    }

    /// Number of sockets per state, in the order of [`State::ALL`].
    #[must_use]
    pub fn counts(&self) -> [u32; State::ALL.len()] {
        self.counts
    }

    /// Number of sockets in this state.
    #[must_use]
    pub fn count(&self, state: State) -> u32 {
        self.counts[index(state)]
    }

    /// Sockets that were not taken in because the table was full.
    #[must_use]
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The mini-socket with these addresses.
    #[must_use]
    pub(crate) fn mini_at(&self, tuple: &Tuple) -> Option<SocketId> {
        self.minis.get(tuple).copied()
    }

    /// Changes a socket, keeping counts and indexes right. `None`: it is not there.
    pub(crate) fn update<R>(
        &mut self,
        id: &SocketId,
        change: impl FnOnce(&mut Socket) -> R,
    ) -> Option<R> {
        let socket = self.sockets.get_mut(id)?;
        let before = (socket.state, socket.is_mini, socket.tuple());
        let result = change(socket);
        let after = (socket.state, socket.is_mini, socket.tuple());
        if before.0 != after.0 {
            self.counts[index(before.0)] -= 1;
            self.counts[index(after.0)] += 1;
        }
        if before != after {
            if before.1 {
                self.minis.remove(&before.2);
            }
            if after.1 {
                self.minis.insert(after.2, *id);
            }
        }
        Some(result)
    }

    /// Takes a socket in; a full table refuses and counts it.
    pub fn insert(&mut self, id: SocketId, socket: Socket) -> bool {
        self.remove(&id);
        if self.sockets.len() >= self.limit {
            self.refused += 1;
            return false;
        }
        self.counts[index(socket.state)] += 1;
        if socket.is_mini {
            self.minis.insert(socket.tuple(), id);
        }
        self.sockets.insert(id, Box::new(socket));
        true
    }

    /// Takes a socket out.
    pub(crate) fn remove(&mut self, id: &SocketId) -> Option<Socket> {
        let socket = self.sockets.remove(id)?;
        self.counts[index(socket.state)] -= 1;
        if socket.is_mini && self.minis.get(&socket.tuple()) == Some(id) {
            self.minis.remove(&socket.tuple());
        }
        Some(*socket)
    }

    /// Lets another socket have a mini-socket's cookie; gives the name that
    /// the mini-socket is known by from now on.
    pub(crate) fn set_aside(&mut self, id: &SocketId) -> Option<SocketId> {
        let mut socket = self.remove(id)?;
        socket.is_past_life = true;
        let set_aside = socket.id();
        self.insert(set_aside, socket);
        Some(set_aside)
    }

    /// Gives a socket the cookie that the kernel has made for it since.
    pub(crate) fn name(&mut self, id: &SocketId, cookie: u64) {
        if let Some(mut socket) = self.remove(id) {
            socket.sock.cookie = cookie;
            self.insert(socket.id(), socket);
        }
    }

    /// Remembers a socket that closed.
    pub fn remember_closed(&mut self, socket: Socket) {
        if self.closed.len() == MAX_CLOSED {
            self.closed.pop_front();
        }
        self.closed.push_back(socket);
    }
}

fn index(state: State) -> usize {
    state as usize
}
