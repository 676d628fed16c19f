//! Network namespaces come and go while we watch. A TIME_WAIT keeps none
//! alive, and goes without an event when its namespace does.

use std::collections::BTreeSet;

use super::changes::{RECENT_NS, gone_with_namespace};
use super::source::Source;
use crate::engine::Engine;
use crate::event::{Body, NetnsEnd};
use crate::model::{NS_PER_MS, Socket, SocketId};
use crate::pace::Pace;
use crate::snapshot::netns::{MAX_NAMESPACES, NetnsError};

/// How often it is asked whether the namespaces are still there.
const EVERY_NS: u64 = 1_000 * NS_PER_MS;

/// What has to be done about namespaces.
#[derive(Debug, Default)]
pub(crate) struct NamespaceSweep {
    pace: Pace,
    /// Namespaces of facts that are not known how to find, at most
    /// [`MAX_NAMESPACES`]; further ones wait for the next fact.
    unknown: BTreeSet<u32>,
    has_new: bool,
}

impl NamespaceSweep {
    /// Remembers that a fact came from a namespace that was not known.
    pub(crate) fn note(&mut self, body: &Body, source: &impl Source) {
        let Some(netns) = body.netns() else { return };
        if !source.knows_namespace(netns)
            && self.unknown.len() < MAX_NAMESPACES
            && self.unknown.insert(netns)
        {
            self.has_new = true;
        }
    }

    /// Finds new namespaces before their processes are gone. The facts take the sockets of
    /// those that have ended out of the table.
    pub(crate) fn step(&mut self, engine: &Engine, source: &mut impl Source) -> Vec<(u64, Body)> {
        let mut facts = Vec::new();
        if self.has_new && source.note_namespaces() {
            self.has_new = false;
        }
        if !self.pace.take(source.now_ns(), EVERY_NS) {
            return facts;
        }
        for ended in source.take_ended_namespaces() {
            match ended {
                NetnsError::Gone(netns) => {
                    self.end(netns, NetnsEnd::Gone, engine, source, &mut facts);
                }
                NetnsError::Unreachable(netns) => {
                    self.end(netns, NetnsEnd::Unreachable, engine, source, &mut facts);
                }
                // Not to be entered is not to be gone.
                _ => {}
            }
        }
        let just_ended: BTreeSet<u32> = facts.iter().filter_map(|(_, body)| body.netns()).collect();
        for netns in std::mem::take(&mut self.unknown) {
            // The engine has not heard of it yet.
            if just_ended.contains(&netns) {
                self.unknown.insert(netns);
                continue;
            }
            match source.find_namespace(netns) {
                Err(NetnsError::Unreachable(_)) => {
                    self.end(netns, NetnsEnd::Unreachable, engine, source, &mut facts);
                }
                Err(NetnsError::Searching(_)) => {
                    self.unknown.insert(netns);
                }
                _ => {}
            }
        }
        facts
    }

    /// Takes the sockets of a namespace out of the table that went with it.
    fn end(
        &mut self,
        netns: u32,
        end: NetnsEnd,
        engine: &Engine,
        source: &mut impl Source,
        facts: &mut Vec<(u64, Body)>,
    ) {
        let known_ns = match end {
            NetnsEnd::Gone => source.now_ns(),
            // The next search may find where what is younger than this one is.
            NetnsEnd::Unreachable => source.namespaces_searched_ns(),
        };
        let mut known: Vec<Socket> = engine.table().in_netns(netns).cloned().collect();
        if known.is_empty() {
            return;
        }
        // Any other socket keeps its namespace alive: it is hidden, not gone.
        if end == NetnsEnd::Unreachable && known.iter().any(|socket| !socket.is_mini) {
            self.unknown.insert(netns);
            return;
        }
        // Another namespace may have the number by now.
        let there = sockets_there(netns, source);
        known.retain(|socket| !there.contains(&socket.id()));
        let recent = known.extract_if(.., |socket| socket.since_ns + RECENT_NS >= known_ns);
        if recent.count() > 0 {
            self.unknown.insert(netns);
        }
        let now_ns = source.now_ns();
        let gone = gone_with_namespace(known, end).into_iter();
        facts.extend(gone.map(|body| (now_ns, body)));
    }
}

fn sockets_there(netns: u32, source: &mut impl Source) -> BTreeSet<SocketId> {
    let found = source.snapshot(netns).unwrap_or_default();
    found
        .into_iter()
        .map(|(_, item)| SocketId::of(&item.sock, item.local, item.peer))
        .collect()
}

#[cfg(test)]
mod tests;
