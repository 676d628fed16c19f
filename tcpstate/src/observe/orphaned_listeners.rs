//! A process that listens ends, and its socket lives on in a child, a
//! supervisor, or whoever was handed the descriptor. No event tells.

use std::collections::BTreeMap;

use super::Live;
use super::owners::Listener;
use super::slice::Slice;
use crate::event::State;
use crate::model::{NS_PER_MS, PortKey, SocketId};
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, proc};

/// How often it is asked whether who listens is still there: one look into
/// `/proc` for each.
const ASK_EVERY_NS: u64 = 1_000_000_000;

/// Longest time that asking keeps events and keys waiting; the other ports are asked about
/// the next time.
const SLICE_NS: u64 = 10 * NS_PER_MS;

/// When it was asked last, and how far it came.
#[derive(Debug, Default)]
pub(super) struct OrphanedListeners {
    asked_ns: u64,
    /// The first port that was not asked about.
    next: Option<PortKey>,
}

impl Live {
    /// Finds out who has the listening sockets of processes that have ended.
    pub(super) fn find_new_owners(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.resync.orphaned_listeners.asked_ns) < ASK_EVERY_NS {
            return;
        }
        self.resync.orphaned_listeners.asked_ns = now_ns;
        if !proc::has_numbers_of_the_host() || self.are_owners_to_come() {
            return;
        }
        for (netns, orphans) in self.orphaned_listeners() {
            let Ok(Some(listed)) = self.resync.namespaces.inside(netns, || listeners(netns)) else {
                continue;
            };
            // Asking may have made a cookie; what was told before it has none.
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
                self.ask_for_owners_of(found);
            }
        }
    }

    /// Listening sockets whose process does not exist any more, by namespace.
    fn orphaned_listeners(&mut self) -> BTreeMap<u32, Vec<SocketId>> {
        let slice = Slice::of(SLICE_NS);
        let from = self.resync.orphaned_listeners.next.take();
        let mut ended: BTreeMap<u32, bool> = BTreeMap::new();
        let mut orphans: BTreeMap<u32, Vec<SocketId>> = BTreeMap::new();
        let stories = self.pipeline.engine().ports().iter();
        for (key, story) in stories.skip_while(|(key, _)| from.is_some_and(|from| **key < from)) {
            if slice.is_over() {
                self.resync.orphaned_listeners.next = Some(*key);
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
