//! Network namespaces come and go while we watch. A TIME_WAIT keeps none
//! alive, and goes without an event when its namespace does.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Live;
use super::changes::{RECENT_NS, gone_with_namespace};
use crate::clock;
use crate::event::{Body, NetnsEnd};
use crate::model::{Socket, SocketId};
use crate::snapshot::netns::{MAX_NAMESPACES, NetnsError};

/// How often it is asked whether the namespaces are still there.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;

/// What has to be done about namespaces.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    swept_ns: u64,
    /// Namespaces of facts that are not known how to find, at most
    /// [`MAX_NAMESPACES`]; further ones wait for the next fact.
    unknown: BTreeSet<u32>,
    has_new: bool,
}

impl Live {
    /// Remembers that a fact came from a namespace that was not known.
    pub(super) fn notice_namespace(&mut self, body: &Body) {
        let Some(netns) = body.netns() else { return };
        if !self.resync.namespaces.knows(netns)
            && self.resync.sweep.unknown.len() < MAX_NAMESPACES
            && self.resync.sweep.unknown.insert(netns)
        {
            self.resync.sweep.has_new = true;
        }
    }

    /// Finds new namespaces before their processes are gone; takes the sockets
    /// of those that have ended out of the table.
    pub(super) fn reconcile_namespaces(&mut self, now_ns: u64) -> Result<()> {
        if self.resync.sweep.has_new && self.resync.namespaces.note_all() {
            self.resync.sweep.has_new = false;
        }
        if now_ns.saturating_sub(self.resync.sweep.swept_ns) < SWEEP_EVERY_NS {
            return Ok(());
        }
        self.resync.sweep.swept_ns = now_ns;
        for ended in self.resync.namespaces.take_ended() {
            match ended {
                NetnsError::Gone(netns) => self.end_namespace(netns, NetnsEnd::Gone)?,
                NetnsError::Unreachable(netns) => {
                    self.end_namespace(netns, NetnsEnd::Unreachable)?;
                }
                // Not to be entered is not to be gone.
                _ => {}
            }
        }
        for netns in std::mem::take(&mut self.resync.sweep.unknown) {
            match self.resync.namespaces.find(netns) {
                Err(NetnsError::Unreachable(_)) => {
                    self.end_namespace(netns, NetnsEnd::Unreachable)?;
                }
                Err(NetnsError::Searching(_)) => {
                    self.resync.sweep.unknown.insert(netns);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the sockets of a namespace out of the table that went with it.
    fn end_namespace(&mut self, netns: u32, end: NetnsEnd) -> Result<()> {
        let known_ns = match end {
            NetnsEnd::Gone => clock::monotonic_ns(),
            // The next search may find where what is younger than this one is.
            NetnsEnd::Unreachable => self.resync.namespaces.searched_ns(),
        };
        let table = self.pipeline.engine().table();
        let mut known: Vec<Socket> = table.in_netns(netns).cloned().collect();
        if known.is_empty() {
            return Ok(());
        }
        // Any other socket keeps its namespace alive: it is hidden, not gone.
        if end == NetnsEnd::Unreachable && known.iter().any(|socket| !socket.is_mini) {
            self.resync.sweep.unknown.insert(netns);
            return Ok(());
        }
        // Another namespace may have the number by now.
        let there = self.sockets_there(netns);
        known.retain(|socket| !there.contains(&socket.id()));
        let recent = known.extract_if(.., |socket| socket.since_ns + RECENT_NS >= known_ns);
        if recent.count() > 0 {
            self.resync.sweep.unknown.insert(netns);
        }
        for body in gone_with_namespace(known, end) {
            self.pipeline.feed(clock::monotonic_ns(), body)?;
        }
        Ok(())
    }

    fn sockets_there(&mut self, netns: u32) -> BTreeSet<SocketId> {
        let found = self.snapshot(netns).unwrap_or_default();
        found
            .into_iter()
            .map(|(_, item)| SocketId::of(&item.sock, item.local, item.peer))
            .collect()
    }
}
