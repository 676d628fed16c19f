//! A process that listens ends, and its socket lives on in a child, a
//! supervisor, or whoever was handed the descriptor. No event tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use super::Live;
use crate::clock;
use crate::event::{Body, Process, Sock, SocketSeen, State};
use crate::model::SocketId;
use crate::snapshot::sock_diag::SockDiag;
use crate::snapshot::{SocketItem, owners, proc};

/// How often it is asked whether who listens is still there: one look into
/// `/proc` for each.
const ASK_EVERY_NS: u64 = 1_000_000_000;

/// When it was asked last.
#[derive(Debug, Default)]
pub(super) struct Departed {
    asked_ns: u64,
}

impl Live {
    /// Finds out who has the listening sockets of processes that have ended.
    pub(super) fn find_heirs(&mut self, now_ns: u64) -> Result<()> {
        if now_ns.saturating_sub(self.looks.departed.asked_ns) < ASK_EVERY_NS {
            return Ok(());
        }
        self.looks.departed.asked_ns = now_ns;
        if !proc::has_numbers_of_the_host() {
            return Ok(());
        }
        for (netns, orphans) in self.orphaned_listeners() {
            let Ok(Some(listed)) = self.looks.namespaces.inside(netns, || listeners(netns)) else {
                continue;
            };
            let found: Vec<(SocketId, &SocketItem)> = orphans
                .into_iter()
                .filter_map(|id| Some((id, the_one(&listed, id)?)))
                .collect();
            let inodes = found.iter().filter_map(|(_, item)| item.inode).collect();
            let holders = owners::holders(&inodes);
            // Asking may have made a cookie; what was told before it has none.
            self.catch_up()?;
            for (id, item) in found {
                let processes = item.inode.and_then(|inode| holders.get(&inode));
                let found = processes.map_or(&[][..], Vec::as_slice);
                let (listed, _) = owners::listed(found, None, &mut { owners::MAX_BYTES });
                self.tell_heirs(id, item.sock, listed)?;
            }
        }
        Ok(())
    }

    /// Listening sockets whose process does not exist any more, by namespace.
    fn orphaned_listeners(&self) -> BTreeMap<u32, Vec<SocketId>> {
        let mut orphans: BTreeMap<u32, Vec<SocketId>> = BTreeMap::new();
        for (key, story) in self.pipeline.engine().ports().iter() {
            for listener in &story.listeners {
                let pid = listener.process.as_ref().map_or(0, |process| process.pid);
                if pid != 0 && has_ended(pid) {
                    orphans.entry(key.netns).or_default().push(listener.id);
                }
            }
        }
        orphans
    }

    /// `sock`: with the cookie that asking has made for it, where it had none.
    fn tell_heirs(&mut self, id: SocketId, sock: Sock, processes: Vec<Arc<Process>>) -> Result<()> {
        let Some(socket) = self.pipeline.engine().table().get(&id) else {
            return Ok(());
        };
        if socket.state != State::Listen {
            return Ok(());
        }
        let seen = SocketSeen {
            sock,
            state: State::Listen,
            process: None,
            processes: Some(processes),
            ..super::looks::closed(socket)
        };
        Ok(self
            .pipeline
            .feed(clock::monotonic_ns(), Body::Socket(seen))?)
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
