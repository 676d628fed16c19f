//! What the live policy asks beside the hooks: the kernel's socket tables, and where the
//! network namespaces are. The tests answer from a script.

use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use crate::event::{Endpoint, Sock, SocketSeen};
use crate::model::{Socket, Tuple};
use crate::snapshot::SocketItem;
use crate::snapshot::netns::NetnsError;

/// The kernel could not be asked, or did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

/// What a socket is looked up by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketName {
    pub(crate) sock: Sock,
    pub(crate) local: Endpoint,
    pub(crate) peer: Endpoint,
}

impl SocketName {
    pub(crate) fn tuple(&self) -> Tuple {
        Tuple {
            netns: self.sock.netns,
            local: self.local,
            peer: self.peer,
        }
    }
}

impl From<&Socket> for SocketName {
    fn from(socket: &Socket) -> Self {
        Self {
            sock: socket.sock,
            local: socket.local,
            peer: socket.peer,
        }
    }
}

impl From<&SocketSeen> for SocketName {
    fn from(seen: &SocketSeen) -> Self {
        Self {
            sock: seen.sock,
            local: seen.local,
            peer: seen.peer,
        }
    }
}

/// Sockets that were looked up and are there: mini-sockets and others, by their addresses.
pub(crate) type Listing = HashMap<(bool, Tuple), SocketSeen, FixedState>;

/// Answers questions about the host while it is observed. Times are `CLOCK_MONOTONIC`
/// nanoseconds.
pub(crate) trait Source {
    /// A namespace's sockets by `sock_diag`, read bit by bit.
    type List: std::fmt::Debug;
    /// The same by the iterator, which knows the options, too, and lists none that is only
    /// bound.
    type Walk: std::fmt::Debug;
    /// Asks for single sockets of a namespace.
    type Lookup: std::fmt::Debug;

    fn now_ns(&self) -> u64;

    /// Processor time of the calling thread, nanoseconds.
    fn processor_ns(&self) -> u64;

    /// Sockets that are only bound cost as much as all others.
    fn begin_list(&mut self, netns: u32, with_bound: bool) -> Result<Self::List, Unanswered>;

    /// Appends the next few hundred sockets. `false`: that was all.
    ///
    /// The kernel prepares them while it answers the call before.
    fn read_list(
        &mut self,
        list: &mut Self::List,
        to: &mut Vec<SocketItem>,
    ) -> Result<bool, Unanswered>;

    /// `None`: the iterator is refused here.
    fn begin_walk(&mut self, netns: u32) -> Result<Option<Self::Walk>, NetnsError>;

    /// Appends the next few hundred sockets, each with the time at which it was read.
    /// `false`: that was all.
    fn read_walk(
        &mut self,
        walk: &mut Self::Walk,
        to: &mut Vec<(u64, SocketItem)>,
    ) -> Result<bool, Unanswered>;

    /// All sockets of a namespace without the iterator, as [`Self::read_walk`] gives them.
    fn list_without_walk(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError>;

    fn begin_lookup(&mut self, netns: u32) -> Result<Self::Lookup, Unanswered>;

    /// `None`: it is not there.
    fn look_up(
        &mut self,
        lookup: &mut Self::Lookup,
        name: &SocketName,
    ) -> Result<Option<SocketItem>, Unanswered>;

    /// Inodes of the sockets that a process has open.
    fn open_sockets(&mut self, pid: u32) -> HashSet<u64>;

    /// Begins to note where every namespace is that can be found at little cost. `false`: not
    /// yet, since that was just done.
    fn note_namespaces(&mut self) -> bool;

    fn known_namespaces(&self) -> Vec<u32>;

    fn knows_namespace(&self, netns: u32) -> bool;

    /// Looks for a namespace that is not known, without waiting for it.
    fn find_namespace(&mut self, netns: u32) -> Result<(), NetnsError>;

    /// Known namespaces that have ended since the last call.
    fn take_ended_namespaces(&mut self) -> Vec<NetnsError>;

    /// When everything was last searched for namespaces: `Unreachable` says nothing of one
    /// that is younger.
    fn namespaces_searched_ns(&self) -> u64;

    /// Each socket by itself.
    fn look_up_all(
        &mut self,
        netns: u32,
        names: impl IntoIterator<Item = SocketName>,
    ) -> Result<Listing, Unanswered> {
        let mut lookup = self.begin_lookup(netns)?;
        let mut found = Listing::default();
        for name in names {
            if let Some(item) = self.look_up(&mut lookup, &name)? {
                found.insert((item.is_mini, name.tuple()), item.to_seen(None));
            }
        }
        Ok(found)
    }

    /// All sockets of a namespace, each with the time at which it was read.
    fn snapshot(&mut self, netns: u32) -> Result<Vec<(u64, SocketItem)>, NetnsError> {
        let mut found = Vec::new();
        if let Some(mut walk) = self.begin_walk(netns)? {
            loop {
                match self.read_walk(&mut walk, &mut found) {
                    Ok(true) => {}
                    Ok(false) => return Ok(found),
                    Err(Unanswered) => break,
                }
            }
        }
        self.list_without_walk(netns)
    }
}

/// A piece of a longer piece of work, for which events and keys wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    until_ns: u64,
}

impl Slice {
    pub(crate) fn of(source: &impl Source, longest_ns: u64) -> Self {
        Self {
            until_ns: source.now_ns().saturating_add(longest_ns),
        }
    }

    pub(crate) fn is_over(self, source: &impl Source) -> bool {
        source.now_ns() >= self.until_ns
    }
}
