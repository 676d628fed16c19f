//! A process that listens ends, and its socket lives on in a child, a
//! supervisor, or whoever was handed the descriptor. No event tells.

use std::collections::BTreeMap;

use super::kernel::Kernel;
use super::owners::{Listener, Owners};
use super::source::{Slice, Source as _};
use crate::engine::Engine;
use crate::event::State;
use crate::model::{NS_PER_MS, PortKey, SocketId};
use crate::pace::Pace;
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, proc};

/// How often it is asked whether who listens is still there: one look into
/// `/proc` for each.
const EVERY_NS: u64 = 1_000 * NS_PER_MS;

/// Longest time that asking keeps events and keys waiting; the other ports are asked about
/// the next time.
const SLICE_NS: u64 = 10 * NS_PER_MS;

/// How far it came.
#[derive(Debug, Default)]
pub(crate) struct OrphanedListeners {
    pace: Pace,
    /// The first port that was not asked about.
    next: Option<PortKey>,
}

impl OrphanedListeners {
    /// Asks who has the listening sockets of processes that have ended.
    pub(crate) fn step(&mut self, engine: &Engine, kernel: &mut Kernel, owners: &mut Owners) {
        if !self.pace.take(kernel.now_ns(), EVERY_NS)
            || !proc::has_numbers_of_the_host()
            || owners.are_to_come()
        {
            return;
        }
        for (netns, orphans) in self.find(engine, kernel) {
            let Ok(Some(listed)) = kernel.namespaces.inside(netns, || listeners(netns)) else {
                continue;
            };
            // Asking may have made a cookie; what was reported before it has none.
            let found = orphans.into_iter().filter_map(|id| {
                let item = the_one(&listed, id)?;
                Some(Listener {
                    id,
                    sock: item.sock,
                    inode: item.inode,
                })
            });
            let found: Vec<Listener> = found.collect();
            if !found.is_empty() {
                owners.ask_for_listeners(kernel, found);
            }
        }
    }

    /// Listening sockets whose process does not exist any more, by namespace.
    fn find(&mut self, engine: &Engine, kernel: &Kernel) -> BTreeMap<u32, Vec<SocketId>> {
        let slice = Slice::of(kernel, SLICE_NS);
        let from = self.next.take();
        let mut ended: BTreeMap<u32, bool> = BTreeMap::new();
        let mut orphans: BTreeMap<u32, Vec<SocketId>> = BTreeMap::new();
        let stories = engine.ports().iter();
        for (key, story) in stories.skip_while(|(key, _)| from.is_some_and(|from| **key < from)) {
            if slice.is_over(kernel) {
                self.next = Some(*key);
                break;
            }
            for listener in &story.listeners {
                let pid = listener.process.as_ref().map_or(0, |process| process.pid);
                if pid != 0 && *ended.entry(pid).or_insert_with(|| has_ended(pid)) {
                    orphans.entry(key.netns).or_default().push(listener.id);
                }
            }
        }
        orphans
    }
}

/// Whether a process holds no descriptors any more. One that has ended and is
/// not waited for still has a directory in `/proc`, and no executable.
fn has_ended(pid: u32) -> bool {
    std::fs::read_link(proc::of(pid).join("exe"))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The listening sockets of the calling thread's namespace.
fn listeners(netns: u32) -> Option<Vec<SocketItem>> {
    let mut sockets = SockDiag::open(netns).ok()?.dump().ok()?;
    sockets.retain(|item| item.state == State::Listen);
    Some(sockets)
}

/// The listed socket that is known by this. `None`: it is gone, or has no cookie and
/// several listen at its address, which `SO_REUSEPORT` allows.
fn the_one(listed: &[SocketItem], id: SocketId) -> Option<&SocketItem> {
    let is_it = |item: &&SocketItem| match id {
        SocketId::Cookie(cookie) => item.sock.cookie == cookie,
        SocketId::Tuple(tuple) | SocketId::PastLife(tuple) => item.tuple() == tuple,
    };
    let mut found = listed.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}
