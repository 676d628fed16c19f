//! The table put right from a list of all sockets after a loss.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use foldhash::fast::FixedState;

use super::changes::{RECENT_NS, closed, difference};
use super::source::{SocketName, Source};
use crate::engine::Engine;
use crate::event::{Body, Endpoint, SocketSeen, State};
use crate::model::Socket;

/// What a listed socket is known by.
type Key = (bool, u64, Endpoint, Endpoint);

/// The sockets that a list had.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    keys: HashSet<Key, FixedState>,
}

impl Listed {
    pub(crate) fn note(&mut self, seen: &SocketSeen) {
        let key = (seen.is_mini(), seen.sock.cookie, seen.local, seen.peer);
        self.keys.insert(key);
    }

    fn has(&self, socket: &Socket) -> bool {
        let cookie = socket.sock.cookie;
        self.keys
            .contains(&(socket.is_mini, cookie, socket.local, socket.peer))
    }
}

/// What a listed socket says that the table does not have.
pub(crate) fn unknown(engine: &Engine, seen: SocketSeen, mono_ns: u64) -> Option<SocketSeen> {
    match engine.lookup(&seen) {
        None => Some(seen),
        Some(socket) => difference(socket, Some(seen), mono_ns),
    }
}

/// Sockets that the table has and a list of `covered` namespaces, begun then, lacks.
///
/// `engine` has the list, and all that the hooks reported until it was read. Those whose hook
/// fired just before are asked for one by one; whoever asks for [`Missing::gone`] takes in
/// first what the hooks reported meanwhile.
pub(crate) fn missing(
    engine: &Engine,
    listed: &Listed,
    covered: &BTreeSet<u32>,
    began_ns: u64,
    source: &mut impl Source,
) -> Missing {
    let is_missing = |socket: &&Socket| {
        covered.contains(&socket.sock.netns)
            && socket.since_ns < began_ns
            // The iterator does not list sockets that are only bound.
            && socket.state != State::Bound
            && !listed.has(socket)
    };
    let missing = engine.table().iter().filter(is_missing).cloned();
    let (recent, gone): (Vec<Socket>, Vec<Socket>) =
        missing.partition(|socket| socket.since_ns + RECENT_NS >= began_ns);
    let mut by_netns: BTreeMap<u32, Vec<Socket>> = BTreeMap::new();
    for socket in recent {
        by_netns.entry(socket.sock.netns).or_default().push(socket);
    }
    let mut recent = Vec::new();
    for (netns, sockets) in by_netns {
        let names = sockets.iter().map(SocketName::from);
        let Ok(found) = source.look_up_all(netns, names) else {
            continue;
        };
        let is_gone = |socket: &Socket| !found.contains_key(&(socket.is_mini, socket.tuple()));
        recent.extend(sockets.into_iter().filter(is_gone));
    }
    Missing { gone, recent }
}

/// What a list lacks.
#[derive(Debug)]
pub(crate) struct Missing {
    gone: Vec<Socket>,
    /// Whose hook fired just before the list was begun.
    recent: Vec<Socket>,
}

impl Missing {
    /// That they are gone: of recent ones, those of which no hook told anything since.
    pub(crate) fn gone(self, engine: &Engine, source: &impl Source) -> Vec<(u64, Body)> {
        let table = engine.table();
        let is_unchanged = |socket: &Socket| {
            let known = table.get(&socket.id());
            known.is_some_and(|known| known.steps == socket.steps)
        };
        let recent = self.recent.into_iter().filter(is_unchanged);
        self.gone
            .into_iter()
            .chain(recent)
            .map(|socket| (source.now_ns(), Body::Socket(closed(&socket))))
            .collect()
    }
}

#[cfg(test)]
mod tests;
